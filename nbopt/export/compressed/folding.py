"""Batch norms folded into the layers that they come behind: a model without them that puts out the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights

from nbopt.data.tree import tensors
from nbopt.export.compressed.pack import Grid, pack
from nbopt.i18n import _
from nbopt.techniques.compression.norms import factors_of, find_norms, is_transposed
from nbopt.techniques.compression.odd_norms import tell_odd

_NEAR = 1e-5  # how far outputs may be from what they were, of the largest of them, if that is more than 1


class Folding(NamedTuple):
    """What was folded.

    Attributes
    ----------
    folded : dict of str to str
        By the names of batch norms, those of the layers that they are one with now.
    stays : dict of str to str
        By the names of the others, why they stay, in words.
    """

    folded: Mapping[str, str]
    stays: Mapping[str, str]

    def __repr__(self) -> str:
        return _("{folded} batch norms folded, {stay} stay", folded=len(self.folded), stay=len(self.stays))


@torch.no_grad()
def fold(
    model: nn.Module,
    outputs: Callable[[nn.Module], Any],
    grids: MutableMapping[str, Grid] | None = None,
    packed: bool = False,
) -> Folding:
    """Fold what can be folded, in place.

    Parameters
    ----------
    model : torch.nn.Module
        In evaluation mode.
    outputs : callable
        What a model puts out for some samples; by this it is checked.
    grids : mapping of str to Grid, optional
        On which weights are; those of layers that something is folded into are scaled along.
    packed : bool
        Whether weights are to be packed: then what few values would become many for stays as it is.
    """
    known: MutableMapping[str, Grid] = {} if grids is None else grids
    found = find_norms(model)
    stays = {name: tell_odd(odd) for name, (_layer, odd) in found.items() if odd}
    pairs = {name: layer for name, (layer, odd) in found.items() if not odd}
    before = outputs(model)
    done = {}
    for name, layer in pairs.items():
        if why := _keeps(model, layer, name, known, packed):
            stays[name] = why
        else:
            done[name] = _fold_one(model, layer, name, known)
    if done and not _near(before, outputs(model)):
        for undo in reversed(done.values()):
            undo()
        for name in list(done):  # which of them it is
            undo = _fold_one(model, pairs[name], name, known)
            if not _near(before, outputs(model)):
                undo()
                del done[name]
                stays[name] = _("outputs would be others")
    return Folding({name: pairs[name] for name in done}, {name: stays[name] for name in found if name in stays})


def _fused(model: nn.Module, layer: str, name: str) -> tuple[Tensor, Tensor]:
    """Return weight and bias of a layer with a norm folded into it."""
    own: Any = model.get_submodule(layer)
    norm: Any = model.get_submodule(name)
    told: list[Any] = [own.weight, own.bias, norm.running_mean, norm.running_var, norm.eps]
    given = (torch.ones_like(norm.running_var), torch.zeros_like(norm.running_var))
    told += [norm.weight, norm.bias] if norm.weight is not None else given
    if isinstance(own, nn.Linear):
        weight, bias = fuse_linear_bn_weights(*told)
    else:
        told.append(is_transposed(own))
        weight, bias = fuse_conv_bn_weights(*told)
    return weight.detach(), bias.detach()


def _keeps(model: nn.Module, layer: str, name: str, grids: Mapping[str, Grid], packed: bool) -> str:
    """Return why few bits would not be few any more, in words."""
    own: Any = model.get_submodule(layer)
    path = f"{layer}.weight"
    if path in grids:
        return _("the grid of a transposed convolution is no row's") if is_transposed(own) else ""
    if packed and pack(_fused(model, layer, name)[0]).size > 1.1 * pack(own.weight).size:
        return _("the layer before has few values, of which each channel would have others")
    return ""


def _fold_one(model: nn.Module, layer: str, name: str, grids: MutableMapping[str, Grid]) -> Callable[[], None]:
    """Fold one norm; return what undoes it."""
    own: Any = model.get_submodule(layer)
    norm, path = model.get_submodule(name), f"{layer}.weight"
    weight, bias, grid = own.weight, own.bias, grids.get(path)
    new, shift = _fused(model, layer, name)
    if grid is not None and torch.equal((weight / grid.scale).round() * grid.scale, weight):
        factor = factors_of(norm).to(weight).view(-1, *[1] * (weight.ndim - 1))
        new, grids[path] = _scaled(weight, grid, factor)
    own.weight, own.bias = nn.Parameter(new, False), nn.Parameter(shift, False)
    model.set_submodule(name, nn.Identity())

    def undo() -> None:
        own.weight, own.bias = weight, bias
        model.set_submodule(name, norm)
        if grid is not None:
            grids[path] = grid

    return undo


def _scaled(weight: Tensor, grid: Grid, factor: Tensor) -> tuple[Tensor, Grid]:
    """Return a weight and its grid, both times a factor for each row: whole numbers stay what they are."""
    numbers = (weight / grid.scale).round()
    scale = grid.scale * factor
    zero = None if grid.zero is None else grid.zero.expand(scale.shape).contiguous()
    return numbers * scale, Grid(scale, zero, grid.bits)


def _near(before: Any, after: Any) -> bool:
    """Whether outputs are what they were."""
    for its, ours in zip(tensors(before), tensors(after), strict=True):
        if not its.is_floating_point() or not its.numel():
            continue
        most = its.abs().nan_to_num(0.0, 0.0, 0.0).amax().clamp(min=1.0)
        if not torch.allclose(ours, its, rtol=0.0, atol=_NEAR * float(most), equal_nan=True):
            return False
    return True
