"""What scripts hold as it is written here to give a model another structure, see `nbopt.export.script.plain`."""

import copy

import torch
from torch import nn

from nbopt.techniques.optimizers.powers import power_of, resized

# -- another structure of the model


def resize(model, optimizer, sizes):
    """Give weights and buffers other sizes; what is remembered of them goes along."""
    held = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for name, changes in sizes.items():
        tensor = held[name]
        memory = {} if optimizer is None else optimizer.state.get(tensor, {})
        values = [value for value in memory.values() if torch.is_tensor(value)]
        if any(value.numel() > 1 and value.shape != tensor.shape for value in values):
            memory = optimizer.state.pop(tensor) and {}
        made = {key: v for key, v in memory.items() if torch.is_tensor(v)}
        made = {key: v for key, v in made.items() if v.shape == tensor.shape}
        data = tensor.data
        for dim, units, factors, slopes, into in changes:
            data = resized(data, dim, units, factors, into)
            for key, value in made.items():
                power = power_of(key)
                if power is None:
                    made[key] = resized(value, dim, units, factors, into)
                else:
                    made[key] = resized(value, dim, units, slopes, into, power)
        memory.update(made)
        tensor.data, tensor.grad = data, None


def put_module(model, optimizer, old, made):
    """Put a module in the place of another one; its weights train in the same group."""
    known, ours = set(old.modules()), list(old.parameters())
    for module in made.modules():
        if module not in known:
            module.training = old.training
    fresh = [w for w in made.parameters() if all(w is not own for own in ours)]
    if ours and not any(weight.requires_grad for weight in ours):
        for weight in fresh:
            weight.requires_grad_(False)
    for place, module in [*model.named_modules(remove_duplicate=False)]:
        if module is old:
            parent, _, name = place.rpartition(".")
            model.get_submodule(parent)._modules[name] = made
    if optimizer is None:
        return
    groups, held = optimizer.param_groups, set(model.parameters())
    trained = {weight for group in groups for weight in group["params"]}
    fresh = [weight for weight in fresh if weight not in trained]
    homes = [g for g in groups if any(w is own for w in g["params"] for own in ours)]
    for group in homes[:1] if ours else groups[:1]:
        group["params"] += fresh
    if fresh and isinstance(optimizer, torch.optim.Adagrad):  # which begins when made
        begun = torch.optim.Adagrad(fresh, **optimizer.defaults)
        optimizer.state.update(begun.state)
    for group in groups:
        group["params"] = [weight for weight in group["params"] if weight in held]
    for weight in ours:
        if weight not in held:
            optimizer.state.pop(weight, None)


def made_anew(optimizer):
    """Return an optimizer without its memory, which was of all weights together."""
    settings = dict(optimizer.param_groups[0])
    return type(optimizer)(settings.pop("params"), **settings)


@torch.no_grad()  # as at rest: a codebook would go on to other values
def settle(model, change_weights):
    """Give a model the weights that it computes with."""
    named = model.named_parameters()
    named = {name: weight for name, weight in named if weight.requires_grad}
    for name, made in change_weights(dict(named)).items():
        named[name].data = made.detach().clone()


@torch.no_grad()
def measure_norms(model, run_passes):
    """Have batch normalization hold means and variances of training samples."""
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
    norms = [layer for layer in model.modules() if isinstance(layer, kinds)]
    norms = [norm for norm in norms if norm.training and norm.running_mean is not None]
    momenta = [norm.momentum for norm in norms]
    before = copy.deepcopy(model.state_dict())
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # all batches count alike
    run_passes()
    found = [(norm.running_mean.clone(), norm.running_var.clone()) for norm in norms]
    model.load_state_dict(before)
    for norm, momentum, (mean, var) in zip(norms, momenta, found, strict=True):
        norm.momentum = momentum
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(var)


def edited(weights, edit, model):
    """Return weights of a model as they are after an edit."""
    twin = copy.deepcopy(model)
    twin.load_state_dict(weights)
    edit(twin, None)
    return twin.state_dict()
