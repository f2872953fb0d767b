"""Search by the gradient: a trial follows the derivative of the validation loss through the training of the one before.

Reverse-mode differentiation through the steps (Maclaurin et al. 2015), whose sign alone is used, with a step of its own
for each hyperparameter (Rprop, Riedmiller & Braun 1993).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nbopt.errors import InvalidHyperparam
from nbopt.i18n import _
from nbopt.run.run import Run
from nbopt.search.spaces.space import Space
from nbopt.search.subjects.building import Blueprint, PartKey
from nbopt.search.subjects.objectives import Objective

NAME = "hypergradient"
NOTE = "nbopt:slopes"

_UNROLLED = 60  # steps that are differentiated at most: their graph is held in memory


def find_slopes(
    blueprint: Blueprint, part: PartKey, values: Mapping[str, Any], names: Sequence[str], steps: int
) -> dict[str, float]:
    """Return the derivatives of the validation loss after a training's first steps, from its beginning."""
    run = Run.of(blueprint.spec(values, "slopes", part))
    found = run.hypergradient(names, min(steps, _UNROLLED))
    return {name: slope if np.isfinite(slope) else 0.0 for name, slope in found.items()}


def check_slopes(blueprint: Blueprint, part: PartKey, space: Space, objectives: Sequence[Objective]) -> None:
    """Raise InvalidHyperparam or ValueError where there is no derivative, in words."""
    if [(each.name, each.direction) for each in objectives] != [("val_loss", "minimize")]:
        rule = _("the derivative is that of the validation loss: search for objective='val_loss' alone")
        raise InvalidHyperparam(_("sampler 'hypergradient': {rule}.", rule=rule))
    for name, dimension in space.items():
        if dimension.options or dimension.whole or name in blueprint.built:
            rule = _("there is no derivative by it, which has steps or shapes the model")
            raise InvalidHyperparam(_("{name}: {rule}: leave it out, or take another sampler.", name=name, rule=rule))
    find_slopes(blueprint, part, space.at([0.5] * len(space.open)), list(space), 1)
