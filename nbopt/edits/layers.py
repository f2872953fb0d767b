"""Functions whose weights have units: linear ones, convolutions, norms, embeddings, attention."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor

from nbopt.edits.following import INTO, OUT, THROUGH, Following, Handler, argument
from nbopt.i18n import _


def take(following: Following, source: Any, dim: int, weight: Tensor, axis: int, what: str) -> bool:
    """Have a weight take the units of ``source`` along a dimension; return whether there are others along another."""
    units = following.of(source)
    if units is None:
        return False
    dim %= units.ndim
    if units.numel() != units.shape[dim]:
        if units.shape[dim] > 1:
            following.units.fix(units, _("its outputs go through {function}, which may join units", function=what))
        return True
    if name := following.use(weight):
        following.seen.append((source.detach(), units))
        size = weight.shape[axis]
        following.units.axis(name, axis, size, INTO, units.reshape(-1).expand(size))
    else:
        following.units.fix(units, _("its outputs go into a layer whose weights are made of others"))
    return False


def put(following: Following, weight: Tensor, bias: Any, axis: int, result: Tensor, dim: int) -> None:
    """Follow the units that a weight puts out along a dimension."""
    if not (name := following.use(weight)):
        return
    units = following.units.axis(name, axis, weight.shape[axis], OUT)
    add_bias(following, bias, units)
    following.follow(result, along(units, result, dim))


def add_bias(following: Following, bias: Any, units: Tensor) -> None:
    """Have a bias know the units that a weight puts out."""
    if not isinstance(bias, Tensor):
        return
    if name := following.use(bias):
        following.units.axis(name, 0, len(bias), OUT, units)
    else:
        following.units.fix(units, _("it has a bias that is made of others"))


def along(units: Tensor, result: Tensor, dim: int) -> Tensor:
    """Return units so that they broadcast to ``result``, along a dimension."""
    shape = [1] * result.ndim
    shape[dim] = -1
    return units.reshape(shape)


def _linear(following: Following, args: Any, named: Any, result: Any) -> None:
    source, weight = argument(args, named, 0, "input"), argument(args, named, 1, "weight")
    bias = argument(args, named, 2, "bias")
    if following.name_of(source):
        following.give_up("linear", args, named, result)
    elif take(following, source, -1, weight, 1, "linear"):  # units in another dimension, whose places are mixed
        units = following.of(source)
        if units is not None and units.shape[-1] == 1:
            following.follow(result, units)
        following.give_up("linear", (weight, bias), {}, result)
    else:
        put(following, weight, bias, 0, result, result.ndim - 1)


def _convolution(transposed: bool, following: Following, args: Any, named: Any, result: Any) -> None:
    source, weight = argument(args, named, 0, "input"), argument(args, named, 1, "weight")
    bias, dim = argument(args, named, 2, "bias"), result.ndim - weight.ndim + 1
    groups = argument(args, named, 6, "groups") or 1
    if groups == 1:
        if take(following, source, dim, weight, 0 if transposed else 1, "conv"):
            following.give_up("conv", args, named, result)
        else:
            put(following, weight, bias, 1 if transposed else 0, result, dim)
        return
    units, name = following.of(source), following.use(weight)
    apart = not transposed and weight.shape[1] == 1 and groups == weight.shape[0]
    if not apart or not name or (units is not None and units.numel() != units.shape[dim]):
        following.give_up(_("a convolution in groups"), args, named, result)
    elif units is not None:  # each channel by itself
        own = following.units.axis(name, 0, groups, THROUGH, units.reshape(-1))
        add_bias(following, bias, own)
        following.follow(result, along(own, result, dim))


def _batch_norm(following: Following, args: Any, named: Any, result: Any) -> None:
    source = argument(args, named, 0, "input")
    units = following.of(source)
    held = [argument(args, named, 1 + k, n) for k, n in enumerate(("running_mean", "running_var", "weight", "bias"))]
    if units is None:
        return
    dim = 1 if source.ndim > 1 else 0
    if units.numel() != units.shape[dim]:
        return following.give_up("batch_norm", args, named, result)
    for tensor in held:
        if isinstance(tensor, Tensor):
            following.meet(tensor, units.reshape(-1), "batch_norm")
    return following.follow(result, units)


def _embedding(following: Following, args: Any, named: Any, result: Any) -> None:
    weight = argument(args, named, 1, "weight")
    put(following, weight, None, 1, result, result.ndim - 1)


def _prelu(following: Following, args: Any, named: Any, result: Any) -> None:
    source, weight = argument(args, named, 0, "input"), argument(args, named, 1, "weight")
    units = following.of(source)
    if units is not None and weight.numel() > 1:
        dim = 1 if source.ndim > 1 else 0
        shape = [1] * source.ndim
        shape[dim] = -1
        varied = [place for place in range(units.ndim) if units.shape[place] > 1]
        if varied in ([], [dim]) and units.shape[dim] > 1:
            following.meet(weight, units.reshape(-1), "prelu")
        else:
            return following.give_up("prelu", args, named, result)
    return following.follow(result, units)


def _attention(following: Following, args: Any, named: Any, result: Any) -> None:
    """Attention of several heads, or of one: the units it takes stay, and so do those it puts out."""
    following.give_up(_("attention"), args, named, result)


LAYERS: dict[str, Handler] = {
    "linear": _linear,
    "batch_norm": _batch_norm,
    "embedding": _embedding,
    "prelu": _prelu,
    "multi_head_attention_forward": _attention,
    "scaled_dot_product_attention": _attention,
    **{f"conv{n}d": partial(_convolution, False) for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": partial(_convolution, True) for n in (1, 2, 3)},
}
