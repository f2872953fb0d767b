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
    """

    units: Units
    used: Mapping[str, Tensor]
    groups: dict[int, dict[Axis, Tensor]]
    fixed: dict[int, str]
    living: set[int]
    outputs: set[int]

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
    evaluated, _loss = evaluate(training, following)
    following.fix_outputs(evaluated)
    following.fix_outputs(watch_step(training, following))
    units = following.finish()
    if not units.axes:
        raise refuse(_("the forward pass calls no layer of it that has units which could be followed"))
    return Found(units, following.used, units.groups(), units.fixed(), units.living(), following.outputs)
