"""Population-based training: all trials train side by side, and the worst go on from where the best are.

Jaderberg et al. 2017, with truncation selection: after a validation of all, each of the worst quarter takes weights and
values of one of the best quarter (exploit), and the values are changed a little (explore).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from nbopt.errors import InvalidHyperparam
from nbopt.i18n import _
from nbopt.run.population.member import Member
from nbopt.run.population.values import find_shared
from nbopt.search.executors.batched import Batched
from nbopt.search.executors.company import Company
from nbopt.search.spaces.space import Space
from nbopt.search.subjects.objectives import Objective
from nbopt.search.trial import Trial

NAME = "pbt"

_SHARE = 0.25  # of the trials that are given up at a time, and of those that others go on from
_FACTORS = (0.8, 1.2)  # what a number is multiplied by
_RESAMPLED = 0.25  # how often a choice is drawn anew


class Move(NamedTuple):
    """One trial goes on from where another is, with values of its own."""

    trial: int
    of: int
    values: Mapping[str, Any]


class Evolving(Batched):
    """All trials at once, which exploit and explore.

    Parameters
    ----------
    slots : int
    techniques : sequence

    Attributes
    ----------
    evolve : callable
        ``evolve(validation) -> moves``; the study sets it.
    """

    evolve: Callable[[int], Sequence[Move]]

    def look_at(self, company: Company) -> None:
        """Let the worst go on from the best, once all have been validated as often."""
        population, validations = company.population, company.validations
        if len(set(validations)) > 1 or any(_is_over(member) for member in population):
            return
        places = {row.job.number: place for place, row in enumerate(company.rows)}
        for move in self.evolve(validations[0]):
            population.clone(places[move.of], into=places[move.trial], source="study", **move.values)


def moves_after(validation: int, trials: Sequence[Trial], objective: Objective, space: Space, seed: int) -> list[Move]:
    """Return the moves after a validation of these trials."""
    sign = 1.0 if objective.direction == "minimize" else -1.0
    losses = {trial.number: sign * trial.reports[validation] for trial in trials}
    values = {trial.number: dict(trial.values) for trial in trials}
    return choose_moves(losses, values, space, np.random.default_rng([seed, validation]))


def choose_moves(
    losses: Mapping[int, float], values: Mapping[int, Mapping[str, Any]], space: Space, draw: np.random.Generator
) -> list[Move]:
    """Return which of the worst trials go on from which of the best, and with which values.

    Parameters
    ----------
    losses : mapping of int to float
        Of each trial, lower where it is better.
    values : mapping of int to mapping
    space : Space
    draw : numpy.random.Generator
    """
    ranked = sorted(losses, key=lambda number: (losses[number], number))
    count = int(len(ranked) * _SHARE)
    best, worst = ranked[:count], ranked[len(ranked) - count :]
    moves = []
    for trial in worst:
        of = best[int(draw.integers(count))]
        moves.append(Move(trial, of, {each.name: _explore(each, values[of][each.name], draw) for each in space.open}))
    return moves


def _explore(dimension: Any, value: Any, draw: np.random.Generator) -> Any:
    """Return a value near to another one, within the dimension."""
    factor, resamples, share = draw.choice(_FACTORS), draw.random() < _RESAMPLED, draw.random()
    if dimension.options:
        return dimension.at(share) if resamples else value
    if dimension.whole:
        step = 1 if factor > 1 else -1
        return dimension.at(min(1.0, max(0.0, dimension.place(value) + step / dimension.count)))
    return float(min(max(value * factor, dimension.low), dimension.high))


def check_changeable(space: Space, built: Sequence[str], techniques: Sequence[Any]) -> None:
    """Raise InvalidHyperparam where a value cannot change while a trial trains beside others."""
    shared = find_shared(techniques)
    for name, dimension in space.items():
        if name in built or name in shared or dimension.spec.initial:
            rule = _("population-based training changes values while models train, and this one cannot be")
            raise InvalidHyperparam(
                _("{name}: {rule}: leave it out, or search with another sampler.", name=name, rule=rule)
            )


def _is_over(member: Member) -> bool:
    return member.state.is_ended or bool(member.training.end_reason())
