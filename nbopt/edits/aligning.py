"""Putting the units of one model into the order that another one of the same structure has."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from nbopt.edits.finding import Axis, Found

_MOST_ROUNDS = 100
_LEAST_GAIN = 1e-9  # as a share of what is compared: less is rounding

Orders = dict[Axis, Tensor]
"""Along dimensions of weights, from which place each number is taken."""


class _Class(NamedTuple):
    """Units that could change places: where along which dimensions each of them stands, (units, places)."""

    places: dict[Axis, Tensor]
    names: tuple[str, ...]


def find_orders(found: Found, ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], seed: int) -> Orders:
    """Return in which order the units of another model are most like those of this one.

    That is weight matching (Ainsworth, Hayase and Srinivasa 2023, section 3.2): layer by layer, the assignment of units
    with the largest sum of products of their weights, the other layers as they are then, until none is better.

    Parameters
    ----------
    found : Found
        The units of this model.
    ours, theirs : mapping of str to Tensor
        The weights of both; of the other one also the buffers, which change places with its units.
    seed : int
        Of the order in which layers are gone through.
    """
    from scipy.optimize import linear_sum_assignment

    classes = list(_find_classes(found))
    generator = torch.Generator().manual_seed(seed)
    mine, held = ({name: _wide(weight) for name, weight in weights.items()} for weights in (ours, theirs))
    orders: Orders = {}
    for _round in range(_MOST_ROUNDS):
        better = False
        for index in torch.randperm(len(classes), generator=generator).tolist():
            own = classes[index]
            before = _likeness(own.names, mine, held)
            gains = _rows(own, mine, mine) @ _rows(own, mine, held).T
            _units, chosen = linear_sum_assignment(gains.numpy(), maximize=True)
            moved = _reorder(own, torch.from_numpy(chosen), held)
            trial = {**held, **apply(moved, {name: held[name] for name, _dim in moved})}
            least = _LEAST_GAIN * (1 + abs(before))
            if _likeness(own.names, mine, trial) > before + least:  # both sides of a weight may be these units
                held, better = trial, True
                for axis, order in moved.items():
                    orders[axis] = order if axis not in orders else orders[axis][order]
        if not better:
            break
    return orders


def apply(orders: Orders, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights and buffers whose numbers are taken in these orders."""
    made = dict(weights)
    for (name, dim), order in orders.items():
        made[name] = made[name].index_select(dim, order.to(made[name].device))
    return made


def _find_classes(found: Found) -> Sequence[_Class]:
    made = []
    for row in found.rows():
        alike: dict[tuple[tuple[Axis, int], ...], list[int]] = {}
        for unit in row:
            if unit not in found.fixed and unit not in found.outputs:
                places = found.groups[unit]
                alike.setdefault(tuple(sorted((axis, len(own)) for axis, own in places.items())), []).append(unit)
        for kind, units in alike.items():
            if len(units) > 1:
                places = {axis: torch.stack([found.groups[unit][axis] for unit in units]) for axis, _count in kind}
                made.append(_Class(places, tuple(dict.fromkeys(name for name, _dim in places))))
    return made


def _likeness(names: Sequence[str], mine: Mapping[str, Tensor], held: Mapping[str, Tensor]) -> float:
    return float(sum(float((mine[name] * held[name]).sum()) for name in names if name in mine))


def _rows(own: _Class, names: Container[str], weights: Mapping[str, Tensor]) -> Tensor:
    """Return what stands in weights of these names of each unit, a row for each."""
    rows = []
    for (name, dim), places in own.places.items():
        if name in names:
            part = weights[name].index_select(dim, places.flatten()).movedim(dim, 0)
            rows.append(part.reshape(len(places), -1))
    return torch.cat(rows, 1)


def _reorder(own: _Class, chosen: Tensor, held: Mapping[str, Tensor]) -> Orders:
    """Return what has each unit take the place of another one."""
    made: Orders = {}
    for (name, dim), places in own.places.items():
        made[name, dim] = order = torch.arange(held[name].shape[dim])
        order[places.flatten()] = places[chosen].flatten()
    return made


def _wide(weight: Tensor) -> Tensor:
    weight = weight.detach().cpu()
    return torch.view_as_real(weight).double() if weight.is_complex() else weight.double()
