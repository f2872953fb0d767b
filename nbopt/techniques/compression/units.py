"""What is pruned as a whole, a unit: a weight, a neuron or channel, a head; and how important each is.

A layer is a list of what its units are made of: the name of a parameter, the shape in which it is to be seen, and the
dimension along which its units then lie.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nbopt.i18n import _


# Scripts hold these functions as they are written here, so in lines of 88 characters.
def find_units(
    model: nn.Module,
    weights: dict[str, Tensor],
    pattern: str,
) -> list[list[tuple[str, tuple[int, ...], int]]]:
    """Return the layers that are pruned, of a model's parameters ``weights``."""
    if pattern not in ("neurons", "heads"):
        matrices = {name: w for name, w in weights.items() if w.ndim > 1}
        return [[(name, (w.numel(),), 0)] for name, w in matrices.items()]
    layers = find_heads(model) if pattern == "heads" else find_neurons(model)
    found = [[part for part in layer if part[0] in weights] for layer in layers]
    return [each for each in found if any(weights[part[0]].ndim > 1 for part in each)]


def find_neurons(model: nn.Module) -> list[list[tuple[str, tuple[int, ...], int]]]:
    """Return the neurons and channels of each layer but the last, which are outputs.

    To a channel belongs what a batch norm right after its layer, in the same module,
    makes of it. Hidden units of recurrent layers are neurons, too.
    """
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    layers: list[list[tuple[str, tuple[int, ...], int]]] = []
    place = ("", 0)  # the module that a norm has to stand in, and its channels
    attention = "no module"
    for name, module in model.named_modules():
        if isinstance(module, nn.MultiheadAttention):
            attention = name
        parent = name.rpartition(".")[0]
        if isinstance(module, kinds) and not name.startswith(f"{attention}."):
            layers.append([])
            weight = module._parameters.get("weight")  # not read where it is computed
            place = (parent, -1 if weight is None else len(weight))
        elif type(module) in (nn.RNN, nn.LSTM, nn.GRU):
            layers += find_hidden(module, name)
            place = ("", 0)
            continue
        elif not isinstance(module, norms) or (parent, module.num_features) != place:
            if list(module.parameters(recurse=False)):
                place = ("", 0)
            continue
        for own, parameter in module.named_parameters(name, recurse=False):
            layers[-1].append((own, tuple(parameter.shape), 0))
    return layers[:-1]


def find_hidden(
    module: nn.RNNBase,
    name: str,
) -> list[list[tuple[str, tuple[int, ...], int]]]:
    """Return the hidden units of each layer and direction of a recurrent module.

    A unit has a row in each gate; where all of them are 0, so is its state, as long as
    it begins with 0. Units that are projected have no rows of their own, and stay.
    """
    if module.proj_size:
        return []
    layers = []
    for weights in module.all_weights:
        layer: list[tuple[str, tuple[int, ...], int]] = []
        for own, weight in module.named_parameters(name):
            if any(weight is each for each in weights):
                gates = len(weight) // module.hidden_size
                shape = gates, module.hidden_size, *weight.shape[1:]
                layer.append((own, shape, 1))
        layers.append(layer)
    return layers


def find_heads(model: nn.Module) -> list[list[tuple[str, tuple[int, ...], int]]]:
    """Return the heads of torch's attention layers."""
    layers = []
    for name, module in model.named_modules():
        if not isinstance(module, nn.MultiheadAttention):
            continue
        layer: list[tuple[str, tuple[int, ...], int]] = []
        for own, parameter in module.named_parameters(name):
            heads = module.num_heads, module.head_dim
            if own.endswith("out_proj.weight"):
                layer.append((own, (module.embed_dim, *heads), 1))
            elif "_proj" in own and "out_proj" not in own:
                of = len(parameter) // module.embed_dim  # queries, keys and values
                layer.append((own, (of, *heads, *parameter.shape[1:]), 1))
        layers.append(layer)
    return layers


def measure_units(
    layer: list[tuple[str, tuple[int, ...], int]],
    numbers: dict[str, Tensor],
    power: int,
    mean: bool,
) -> Tensor:
    """Return how important each unit of a layer is, (units,).

    That is the norm, of order ``power``, of the ``numbers`` of its matrices; of units
    of several sizes, that of the mean.
    """
    total, size = torch.zeros(()), 0
    for name, shape, dim in layer:
        if numbers[name].ndim > 1:
            if len(shape) == 1:
                return numbers[name].detach().abs().flatten()
            flat = numbers[name].detach().reshape(shape).movedim(dim, 0).flatten(1)
            total = total.to(flat) + flat.abs().pow(power).sum(1)
            size += flat.shape[1]
    return (total / size if mean else total) ** (1 / power)


def draw_units(
    layers: list[list[tuple[str, tuple[int, ...], int]]],
    generator: torch.Generator,
) -> list[Tensor]:
    """Draw a number for each unit, as torch.nn.utils.prune does on the CPU."""
    found = []
    for layer in layers:
        shape, dim = layer[0][1:]
        drawn = torch.rand(shape[dim], generator=generator)
        found.append(-drawn if len(shape) == 1 else drawn)  # of weights, the largest go
    return found


def find_refusals(model: nn.Module, patterns: tuple[str, ...]) -> dict[str, str]:
    """Return the patterns that cannot be pruned in a model, and other names of them, each with the reason, in words."""
    weights = {name: weight for name, weight in model.named_parameters() if weight.ndim > 1}
    ratios = {"2:4": ("n:4", 0.5), "1:4": ("n:4", 0.75), "4:8": ("n:8", 0.5)}
    refused = {
        ratio: _("write sparsity_pattern={name!r} and sparsity={share}", name=name, share=share)
        for ratio, (name, share) in ratios.items()
    }
    refused |= {
        other: _("write sparsity_pattern={name!r}", name="neurons")
        for other in ("channels", "filters", "units", "hidden")
    }
    for pattern in patterns:
        block = int(pattern.partition(":")[2] or 1)
        odd = next((name for name, w in weights.items() if w.shape[1] > block and w.shape[1] % block), "")
        if odd:
            refused[pattern] = _(
                "{pattern} needs inputs in blocks of {block}, and {name} has {count}: change the layer, or choose "
                "another pattern",
                pattern=pattern,
                block=block,
                name=odd,
                count=weights[odd].shape[1],
            )
    if "heads" in patterns and not find_heads(model):
        refused["heads"] = _("the model has no nn.MultiheadAttention, whose heads could be pruned")
    if "neurons" in patterns and not find_neurons(model):
        refused["neurons"] = _(
            "the model has no linear, convolutional or recurrent layer but its last, whose neurons are outputs"
        )
    return refused
