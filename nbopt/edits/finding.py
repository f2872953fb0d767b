"""Finding the units of a run's model, by what its next batch goes through."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from nbopt.edits.following import Following
from nbopt.edits.layers import LAYERS
from nbopt.edits.recurrent import RECURRENT
from nbopt.edits.units import INTO, OUT, Units
from nbopt.i18n import _
from nbopt.training.trial import evaluate, watch_step

if TYPE_CHECKING:
    from nbopt.training.training import Training

Axis = tuple[str, int]


class Found(NamedTuple):
    """The units of a model.

    Attributes
    ----------
    units : Units
    used : dict of str to Tensor
        The weights that the model computes with.
    groups : dict of int to dict
        For each unit, where it stands along the dimensions of weights.
    fixed : dict of int to str
        The units that have to stay, and why.
    living : set of int
        Those that were seen to be other than 0.
    outputs : set of int
        Those that the model puts out.
    seen : list of tuple
        What layers took in the validation, with the units of it.
    """

    units: Units
    used: Mapping[str, Tensor]
    groups: dict[int, dict[Axis, Tensor]]
    fixed: dict[int, str]
    living: set[int]
    outputs: set[int]
    seen: list[tuple[Tensor, Tensor]]

    def layer_of(self, unit: int) -> str:
        """Return the first layer that puts a unit out; "" if none does."""
        for name, dim in self.groups[unit]:
            if OUT in self.units.roles[name, dim] and self.used[name].ndim > 1:
                return name.rpartition(".")[0] or name
        return ""

    def sizes(self, going: set[int]) -> tuple[tuple[str, int, int], ...]:
        """Return the layers that put out units of which some go: how many there are, and how many are left."""
        units: dict[str, set[int]] = {}
        for name, dim in self.units.axes:
            if OUT in self.units.roles[name, dim] and self.used[name].ndim > 1:
                roots = set(map(self.units.root, self.units.axes[name, dim].tolist()))
                units.setdefault(name.rpartition(".")[0] or name, set()).update(roots)
        return tuple((name, len(own), len(own - going)) for name, own in units.items() if own & going)

    def rows(self) -> list[list[int]]:
        """Return units in rows: those that layers put out side by side, of all layers that put out the same ones."""
        by_axis: dict[Axis, list[int]] = {}
        for unit, places in self.groups.items():
            for axis in places:
                if OUT in self.units.roles[axis]:
                    by_axis.setdefault(axis, []).append(unit)
        row_of: dict[int, set[int]] = {}
        for units in by_axis.values():
            joined = set(units).union(*(row_of.get(unit, set()) for unit in units))
            for unit in joined:
                row_of[unit] = joined
        return [sorted(row) for row in {id(row): row for row in row_of.values()}.values()]

    def slices(self, unit: int, role: str) -> list[Tensor]:
        """Return the numbers in the weights that put a unit out, or take it."""
        return [
            self.used[name].detach().index_select(dim, places.to(self.used[name].device))
            for (name, dim), places in self.groups[unit].items()
            if role in self.units.roles[name, dim]
        ]

    def is_dead(self, unit: int) -> bool:
        """Whether it makes no difference to what the model computes: it is always 0, or nothing takes it."""
        taken = self.slices(unit, INTO)
        if taken and not any(bool(part.any()) for part in taken):
            return True
        return unit not in self.living and not any(bool(part.any()) for part in self.slices(unit, OUT))

    def norm(self, unit: int) -> float:
        """Return the size of the weights that put a unit out, see Li et al. (2017)."""
        parts = [part.double().square().sum() for part in self.slices(unit, OUT) if part.ndim > 1]
        return float(sum(parts, torch.zeros((), dtype=torch.float64)).sqrt())


def find_units(training: Training, refuse: Callable[[str], Exception]) -> Found:
    """Return the units of a run's model, as a validation of its next batch and a step on it show them."""
    following = Following(training.model, {**LAYERS, **RECURRENT})
    rounding, training.acting.change_activations = training.acting.change_activations, []  # which joins no units
    try:
        evaluated, _loss = evaluate(training, following)
        following.fix_outputs(evaluated)
        seen, following.seen = following.seen, []
        following.fix_outputs(watch_step(training, following))
    finally:
        training.acting.change_activations = rounding
    units = following.finish()
    if not units.axes:
        raise refuse(_("the forward pass calls no layer of it that has units which could be followed"))
    return Found(units, following.used, units.groups(), units.fixed(), units.living(), following.outputs, seen)
