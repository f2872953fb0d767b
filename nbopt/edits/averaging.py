"""Averages of two models of one structure, the units of one put into the order of the other's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nbopt.data.noise import EDITS, derive_seed
from nbopt.edits.aligning import apply, find_orders
from nbopt.edits.finding import find_units
from nbopt.edits.traversal import read_pattern, to_pattern
from nbopt.edits.written import average_numbers, fill_in, numbers_of
from nbopt.i18n import _
from nbopt.torch_private import DropoutNd
from nbopt.training.structure.edit import CannotEdit
from nbopt.training.trial import are_close, evaluate

if TYPE_CHECKING:
    from nbopt.training.training import Training

Found = tuple[tuple[Any, ...], tuple[Any, ...], int]


def find_order(training: Training, other: nn.Module, refuse: Callable[[str], Exception]) -> Found:
    """Return in which orders another model's units are like the run's, where along weights each is, how many moved."""
    model = training.model
    if reason := _differ(model, other):
        raise refuse(reason)
    found = find_units(training, refuse)
    theirs = numbers_of(other)
    weights = {name: weight for name, weight in model.named_parameters() if weight.is_floating_point()}
    orders = find_orders(found, weights, theirs, derive_seed(training.context.seed, EDITS, len(training.edits)))
    _check(training, other, theirs, apply(orders, theirs), refuse)
    patterns: list[Any] = []
    axes = []
    for (name, dim), order in orders.items():
        pattern = to_pattern(order.tolist())
        if pattern not in patterns:
            patterns.append(pattern)
        axes.append((name, dim, patterns.index(pattern)))
    roots = {axis: [found.units.root(unit) for unit in found.units.axes[axis].tolist()] for axis in orders}
    moved = {roots[axis][place] for axis, order in orders.items() for place in _moved(order)}
    return tuple(patterns), tuple(axes), len(moved)


def average(
    model: nn.Module, other: nn.Module, orders: tuple[Any, ...], axes: tuple[Any, ...], share: float
) -> dict[str, Tensor]:
    """Return the averages of two models' weights and buffers."""
    if reason := _differ(model, other):
        raise CannotEdit(_("the models are not of one structure any more: {reason}.", reason=reason))
    ordered, theirs = read_orders(orders, axes), numbers_of(other)
    for name, parts in ordered.items():
        for dim, places in parts:
            if name not in theirs or dim >= theirs[name].ndim or len(places) != theirs[name].shape[dim]:
                told = _("{name} has not the size of the weight whose units are put in order.", name=name)
                raise CannotEdit(told)
    made: dict[str, Tensor] = average_numbers(model, other, ordered, share)
    return made


def read_orders(orders: Sequence[Any], axes: Sequence[Any]) -> dict[str, list[tuple[int, list[int]]]]:
    """Return from which places along which dimensions each weight takes its numbers, by name."""
    made: dict[str, list[tuple[int, list[int]]]] = {}
    for name, dim, index in axes:
        made.setdefault(name, []).append((dim, read_pattern(orders[index])))
    return made


def is_axis(value: Any, orders: int) -> bool:
    """Whether a value from a journal tells where along a weight units stand, in one of so many orders."""
    if not isinstance(value, (list, tuple)) or len(value) != 3:
        return False
    name, dim, index = value
    return isinstance(name, str) and type(dim) is int and type(index) is int and 0 <= index < orders and dim >= 0


def _differ(model: nn.Module, other: nn.Module) -> str:
    """Say in words why two models are not of one structure; "" if they are."""
    for what, ours, theirs in zip(
        (_("weight"), _("layer")), (_shapes(model), _layers(model)), (_shapes(other), _layers(other)), strict=True
    ):
        for name in [*ours, *theirs]:
            if ours.get(name) != theirs.get(name):
                told = _("{what} {name} is {ours} here, and {theirs} in the other model")
                none = _("missing")
                words = told.format(what=what, name=name, ours=ours.get(name, none), theirs=theirs.get(name, none))
                return words + "; " + _('models of any kind are fused by how="features"')
    return ""


def _shapes(model: nn.Module) -> dict[str, str]:
    """Return shape and type of each weight, by all of its names, and which is its first one."""
    first: dict[int, str] = {}
    made = {}
    for name, weight in model.named_parameters(remove_duplicate=False):
        own = first.setdefault(id(weight), name)
        size = " x ".join(map(str, weight.shape)) + f" {str(weight.dtype).removeprefix('torch.')}"
        made[name] = size if own == name else f"{size} ({own})"
    return made


def _layers(model: nn.Module) -> dict[str, str]:
    return {
        name: type(layer).__qualname__ + ("" if isinstance(layer, DropoutNd) else f"({layer.extra_repr()})")
        for name, layer in model.named_modules()
    }


def _moved(order: Tensor) -> list[int]:
    return torch.nonzero(order != torch.arange(len(order))).flatten().tolist()


def _check(
    training: Training,
    other: nn.Module,
    theirs: Mapping[str, Tensor],
    ordered: Mapping[str, Tensor],
    refuse: Callable[[str], Exception],
) -> None:
    """Raise where the run's model computes something else with the other one's weights than that, or in order."""
    if training.acting.change_weights or training.acting.change_activations:
        return  # which would make others of them
    said: list[tuple[Any, Any]] = []

    def ask(_model: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], made: Any) -> None:
        said.append((made, other.eval()(*inputs, **named)))

    with _holding(training.model, theirs):
        hook = training.model.register_forward_hook(ask, with_kwargs=True)
        try:
            first = evaluate(training)
        finally:
            hook.remove()
    if not all(are_close(training, made, asked) for made, asked in said):
        raise refuse(_("with the other model's weights, the run's computes something else: they are not of one kind"))
    with _holding(training.model, ordered):
        if not are_close(training, first, evaluate(training)):
            raise refuse(_("in another order of its units, the other model would compute something else"))


@contextmanager
def _holding(model: nn.Module, numbers: Mapping[str, Tensor]) -> Iterator[None]:
    """Have a model compute with other numbers meanwhile."""
    before = {name: held.detach().clone() for name, held in numbers_of(model).items()}
    try:
        fill_in(model, numbers)
        yield
    finally:
        fill_in(model, before)
