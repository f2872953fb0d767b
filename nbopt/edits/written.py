"""What edits put in the places of layers, as scripts hold it: in lines of 88 characters."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from nbopt.edits.clusters import find_clusters
from nbopt.edits.modules import Beside, Clustered, LowRank, Residual
from nbopt.export.script.edited import put_module


def without_numbers(kind: Any, *args: Any, **named: Any) -> Any:
    """Return a new layer whose weights hold no numbers yet; none are drawn."""
    make: Any = skip_init
    return make(kind, *args, **named)


def matrix_of(layer: Any) -> Tensor:
    """Return a layer's weight as a matrix, a row for each unit, in float64."""
    weight: Tensor = layer.weight.detach().flatten(1)
    return weight.to("cpu", torch.float64)


def factored(layer: Any, rank: int) -> LowRank:
    """Return a linear layer or convolution as two, with ``rank`` units between."""
    left, values, right = torch.linalg.svd(matrix_of(layer), full_matrices=False)
    root = values[:rank].sqrt()
    like = {"device": layer.weight.device, "dtype": layer.weight.dtype}
    biased, kind = layer.bias is not None, type(layer)
    if isinstance(layer, nn.Linear):
        first = without_numbers(kind, layer.in_features, rank, bias=False, **like)
        second = without_numbers(kind, rank, layer.out_features, bias=biased, **like)
    else:
        named = {"stride": layer.stride, "padding": layer.padding, "bias": False}
        named |= {"dilation": layer.dilation, "padding_mode": layer.padding_mode}
        size = layer.kernel_size
        first = without_numbers(kind, layer.in_channels, rank, size, **named, **like)
        second = without_numbers(kind, rank, layer.out_channels, 1, bias=biased, **like)
    with torch.no_grad():
        first.weight.copy_((root[:, None] * right[:rank]).reshape(first.weight.shape))
        second.weight.copy_((left[:, :rank] * root).reshape(second.weight.shape))
    if biased:
        second.bias = layer.bias
    return LowRank(first, second)


def clustered(layer: Any, count: int) -> Clustered:
    """Return a layer whose weight has no more than ``count`` values."""
    values, places = find_clusters(layer.weight.detach(), count)
    return Clustered(layer, values, places)


def deepened(
    layer: nn.Module,
    kind: Any,
    units: int,
    width: int,
    like: Tensor,
    generator: torch.Generator,
) -> nn.Module:
    """Return a layer and what is added behind it, which changes nothing at first.

    Behind a ReLU that is a layer that passes everything on, and another ReLU; behind
    another layer, two of which the second one begins at 0.
    """
    given = {"device": like.device, "dtype": like.dtype}
    if kind is not nn.Linear:
        given |= {"kernel_size": 3, "padding": 1}
    first = without_numbers(kind, units, width, **given)
    if type(layer) is nn.ReLU:
        with torch.no_grad():
            if kind is nn.Linear:
                nn.init.eye_(first.weight)
            else:
                nn.init.dirac_(first.weight)
            first.bias.zero_()
        return nn.Sequential(layer, first, nn.ReLU())
    last = without_numbers(kind, width, units, **given)
    with torch.no_grad():
        bound = (6 / first.weight[0].numel()) ** 0.5  # see He et al. (2015)
        drawn = torch.rand(first.weight.shape, generator=generator, dtype=torch.float64)
        first.weight.copy_((2 * drawn - 1) * bound)
        for tensor in (first.bias, last.weight, last.bias):
            tensor.zero_()
    return Residual(layer, first, last)


def beheaded(other: nn.Module, head: str) -> nn.Module:
    """Return a model that returns what its head was given."""
    layer = other.get_submodule(head)
    for place, module in [*other.named_modules(remove_duplicate=False)]:
        if module is layer:
            parent, _dot, name = place.rpartition(".")
            setattr(other.get_submodule(parent), name, nn.Identity())
    return other


def beside(head: nn.Module, other: nn.Module, theirs: str) -> Beside:
    """Return the place of one head for two models, the other one without its own."""
    return Beside(head, beheaded(other, theirs))


def join_heads(
    model: nn.Module,
    optimizer: Any,
    other: nn.Module,
    heads: Any,
    share: float,
    frozen: Any,
) -> None:
    """Have one head take the features of two models, at first with their mean."""
    guest = copy.deepcopy(other).to(next(model.parameters()).device)
    for name, weight in guest.named_parameters():
        weight.requires_grad_(name not in frozen)
    head: Any = model.get_submodule(heads[0])
    for name, theirs in guest.get_submodule(heads[1]).named_parameters():
        ours = getattr(head, name)
        memory = {} if optimizer is None else optimizer.state.get(ours, {})
        for key, value in memory.items():
            if torch.is_tensor(value) and value.shape == ours.shape and value.ndim == 2:
                new = torch.zeros_like(theirs, dtype=value.dtype)
                memory[key] = torch.cat([value, new], 1)
        ours.data = joined(ours.detach(), theirs.detach(), share)
        ours.grad = None
    head.in_features = head.weight.shape[1]
    made = beside(head, guest, heads[1])
    put: Any = put_module
    put(model, optimizer, head, made)
    model.register_forward_pre_hook(made.listen, with_kwargs=True)


def joined(ours: Tensor, theirs: Tensor, share: float) -> Tensor:
    """Return a weight or bias of one head for two, of those that both have."""
    one, two = ours * (1 - share), theirs.to(ours.dtype) * share
    return one + two if ours.ndim == 1 else torch.cat([one, two], 1)


def numbers_of(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights and buffers that have an average, by their first names."""
    held = [*model.named_parameters(), *model.named_buffers()]
    held = [(name, x) for name, x in held if x.is_floating_point() or x.is_complex()]
    stored = model.state_dict().keys()
    return {name: tensor for name, tensor in held if name in stored}


def average_numbers(model: Any, other: Any, orders: Any, share: float) -> Any:
    """Return averages with another model, whose units are put in order."""
    made, theirs = {}, numbers_of(other)
    for name, ours in numbers_of(model).items():
        one, two = ours.detach().cpu(), theirs[name].detach().cpu()
        for dim, places in orders.get(name, ()):
            two = two.index_select(dim, torch.tensor(places))
        wide = torch.complex128 if one.is_complex() else torch.float64
        mean = one.to(wide) * (1 - share) + two.to(wide) * share
        made[name] = mean.to(ours.device, ours.dtype)
    return made


@torch.no_grad()
def fill_in(model: nn.Module, numbers: Any) -> None:
    """Give the weights and buffers of a model other numbers."""
    for name, held in numbers_of(model).items():
        held.copy_(numbers[name])
