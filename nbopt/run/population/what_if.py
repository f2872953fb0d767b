"""What each value of a hyperparameter would do to the validation loss, found out by members that go on from a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbopt.data.noise import NOISE, derive_seed
from nbopt.errors import InvalidHyperparam
from nbopt.formatting import brief
from nbopt.hyperparams import Choice, Flag, Float, Hyperparam, Hyperparams, Int
from nbopt.i18n import _
from nbopt.run.past import run_at
from nbopt.run.population.forks import fork_member, take
from nbopt.run.population.member import Member
from nbopt.run.population.population import Population
from nbopt.run.population.spreading import spread
from nbopt.run.population.values import find_shared
from nbopt.run.trained import TrainedSession
from nbopt.techniques.base import defines
from nbopt.techniques.catalogue import known_of

_VALUES, _FEW = 9, 5  # of a range, that are tried; of what is tried one after the other
_DRAW = 7919  # between the seeds of draws


class WhatIf(NamedTuple):
    """What `Run.what_if` found.

    Attributes
    ----------
    name : str
        The hyperparameter.
    values : list
        The values tried, (n,).
    mean : ndarray
        The validation loss after the steps, (n,), the mean of all draws; of a run without validation, the mean
        training loss of the last quarter of the steps.
    spread : ndarray
        The standard deviation between draws, (n,).
    now : float
        The loss before the steps; NaN where that is not known.
    steps : int
        The steps that were done with each.
    present : object
        The value that the run has.
    losses : ndarray
        Of each value and draw, (n, draws).
    """

    name: str
    values: list[Any]
    mean: NDArray[np.float64]
    spread: NDArray[np.float64]
    now: float
    steps: int
    present: Any
    losses: NDArray[np.float64]

    @property
    def best(self) -> Any:
        """The value with the lowest mean; None where all losses are no numbers."""
        return None if np.isnan(self.mean).all() else self.values[int(np.nanargmin(self.mean))]

    def __repr__(self) -> str:
        told = ", ".join(
            f"{value}: {brief(mean)} ± {brief(spread)}"
            for value, mean, spread in zip(self.values, self.mean, self.spread, strict=True)
        )
        text = _(
            "{name} after {steps} steps; {told}; now {now}",
            name=self.name,
            steps=self.steps,
            told=told,
            now=f"{self.now:.4g}",
        )
        return f"<WhatIf {text}>"


def ask_what_if(run: TrainedSession, name: str, values: Any, steps: int, draws: int) -> WhatIf:
    """See `Run.what_if`."""
    spec = run.hyperparams.spec(name)
    name = spec.name
    for what, number in (("steps", steps), ("draws", draws)):
        count = Int(1, low=1, high=1, ge=1)
        count.name = what
        count.check(number)
    present = run.hyperparams[name]
    few = _FEW if name in find_shared(run.techniques) else _VALUES
    if values is None:
        chosen = find_values(spec, present, few)
        chosen = [value for value in chosen if value == present or _goes(run.hyperparams, name, value)]
    else:
        chosen = [run.hyperparams.check({name: value})[name] for value in values]
        for value in chosen:
            run.hyperparams.check_together({name: value})
    start: TrainedSession = run
    if spec.initial and run.step_count:  # which acts before the first step alone
        start = run_at(run, 0)
    losses, now = _try(start, name, chosen, steps, draws)
    with np.errstate(invalid="ignore"):
        mean, deviation = losses.mean(1), losses.std(1)
    return WhatIf(name, chosen, mean, deviation, now, steps, present, losses)


def find_values(spec: Hyperparam[Any], present: Any, count: int) -> list[Any]:
    """Return values of a declaration's range, the present one among them, in order."""
    if isinstance(spec, Flag):
        return [False, True]
    if isinstance(spec, Choice):
        return list(spec.options)
    if isinstance(spec, Float):
        found = [float(f"{value:.3g}") for value in spread(spec.low, spec.high, count - 1 - spec.zero, spec.log)]
    elif isinstance(spec, Int) and spec.powers:
        found = [2 ** round(value) for value in spread(math.log2(spec.low), math.log2(spec.high), count - 1, log=False)]
    elif isinstance(spec, Int):
        found = [round(value) for value in spread(spec.low, spec.high, count - 1)]
    else:
        return [present]
    return sorted({spec.check(value) for value in [*found, *[0] * spec.zero, present]})


def _goes(hyperparams: Hyperparams, name: str, value: Any) -> bool:
    try:
        hyperparams.check_together(hyperparams.check({name: value}))
    except InvalidHyperparam:
        return False
    return True


def _try(
    run: TrainedSession, name: str, values: Sequence[Any], steps: int, draws: int
) -> tuple[NDArray[np.float64], float]:
    """Return the losses of each value and draw, and that before the first step."""
    snapshot, population = take(run), Population.__new__(Population)
    off: dict[str, Any] = {}
    for item in known_of(run.techniques):  # what would end a member, or send it back
        kind = item if isinstance(item, type) else type(item)
        if (defines(kind, "end_reason") or defines(kind, "find_trouble")) and name not in kind.declared():
            off |= kind.off

    def make(made: Population) -> list[Member]:
        return [fork_member(run, made, number, snapshot) for number in range(len(values) * draws)]

    population.begin_with(run.spec, run.hyperparams.another(), len(values) * draws, make)
    population.is_quiet, population.puller.together.compiled.is_on = True, False
    for number, member in enumerate(population):
        value, draw = values[number // draws], number % draws
        if draw:  # other batches, and other noise
            seed = member.seed + _DRAW * draw
            training = member.training
            training.cursor.seed, training.step_seed = seed, derive_seed(seed, NOISE)
            training.cursor.seek(*training.cursor.place())
        wanted = {**off, name: value}
        member.changes.make({key: own for key, own in wanted.items() if key not in run.inert}, "what_if")
    population.prepare()
    now = population.puller.measure([population[0]])[0]
    found = population.puller.try_steps(steps)
    if all(member.step_count == snapshot.step for member in population):
        failed = next((member.error for member in population if member.error is not None), None)
        raise failed or RuntimeError(_("the run has no step left to do: set epochs or steps higher."))
    if run.training.val is not None:
        found = population.puller.measure([*population])
    return np.array(found, np.float64).reshape(len(values), draws), now
