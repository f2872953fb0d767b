"""What each value of a hyperparameter would do to the validation loss, found out by members that go on from a run."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbopt.errors import InvalidHyperparam
from nbopt.formatting import brief, setting
from nbopt.hyperparams import Choice, Flag, Float, Hyperparam, Int
from nbopt.i18n import _
from nbopt.run.past import run_at
from nbopt.run.population.spreading import spread
from nbopt.run.population.trying import SLICE_SECONDS, Slices, Trials
from nbopt.run.population.values import find_shared, has_items
from nbopt.run.trained import TrainedSession

_VALUES, _FEW = 9, 5  # of a range, that are tried; of what is tried one after the other


class WhatIf(NamedTuple):
    """What `Run.what_if` found.

    Attributes
    ----------
    name : str
        The hyperparameter; of several, their names with commas between.
    values : list
        The values tried, (n,); of several hyperparameters, a tuple of one for each.
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
            f"{_written(value)}: {brief(mean)} ± {brief(spread)}"
            for value, mean, spread in zip(self.values, self.mean, self.spread, strict=True)
        )
        text = _(
            "{name} after {steps} steps; {told}; now {now}",
            name=self.name,
            steps=self.steps,
            told=told,
            now=brief(self.now),
        )
        return f"<WhatIf {text}>"


def _written(value: Any) -> str:
    return f"({', '.join(map(setting, value))})" if isinstance(value, tuple) else setting(value)


class Question:
    """What is to be found out: values of a hyperparameter, or of several at once.

    Parameters
    ----------
    run : TrainedSession
    names : sequence of str
    values : sequence, optional
        What to try: of one hyperparameter values, of several a tuple of values for each try.
    ranges : sequence of sequence, optional
        Of each hyperparameter, the values to combine where none are given; the usual by default. What is not legal is
        left out.

    Raises
    ------
    InvalidHyperparam
        For an unknown name or an illegal value.

    Attributes
    ----------
    names : tuple of str
    values : list
    present : object
        What the run has; it is among the values, where these were not given.
    is_late : bool
        Whether a run that has begun cannot take another value any more.
    """

    def __init__(
        self,
        run: TrainedSession,
        names: Sequence[str],
        values: Sequence[Any] | None = None,
        ranges: Sequence[Sequence[Any]] | None = None,
    ) -> None:
        self._run, specs = run, [run.hyperparams.spec(name) for name in names]
        self.names = tuple(spec.name for spec in specs)
        now = tuple(run.hyperparams[name] for name in self.names)
        if values is not None and (not has_items(values) or not len(values)):
            rule = _("values must be a list of at least one value to try")
            raise InvalidHyperparam(_("{rule}; got {value!r}.", rule=rule, value=values))
        if values is None:
            few = _FEW if are_apart(run, self.names) or len(specs) > 1 else _VALUES
            ranges = ranges or [find_values(spec, own, few) for spec, own in zip(specs, now, strict=True)]
            rows = [row for row in product(*ranges) if row == now or self._goes(row)]
        else:
            rows = [self._check(value) for value in values]
        self._rows = rows
        self.present = now if len(specs) > 1 else now[0]
        self.values = [row if len(specs) > 1 else row[0] for row in rows]
        self.is_late = bool(run.step_count) and any(spec.initial for spec in specs)

    def start(self) -> TrainedSession:
        """Return where members are to go on from: the run, or its beginning for what acts before the first step."""
        return run_at(self._run, 0) if self.is_late else self._run

    def slices(self, trials: Trials, steps: int, draws: int) -> Slices:
        """Find it out, in slices; return a `WhatIf`."""
        tried = yield from trials.rows([dict(zip(self.names, row, strict=True)) for row in self._rows], steps, draws)
        losses = tried.losses
        with np.errstate(invalid="ignore"):
            mean, deviation = losses.mean(1), losses.std(1)
        return WhatIf(", ".join(self.names), self.values, mean, deviation, tried.now, steps, self.present, losses)

    def _check(self, value: Any) -> tuple[Any, ...]:
        alone = len(self.names) == 1
        row = (value,) if alone else tuple(value) if has_items(value) else ()
        if len(row) != len(self.names):
            raise InvalidHyperparam(
                _("what_if: {value!r} is no value for each of {names}.", value=value, names=", ".join(self.names))
            )
        checked = self._run.hyperparams.check(dict(zip(self.names, row, strict=True)))
        self._run.hyperparams.check_together(checked)
        return tuple(checked[name] for name in self.names)

    def _goes(self, row: tuple[Any, ...]) -> bool:
        try:
            self._check(row if len(row) > 1 else row[0])
        except InvalidHyperparam:
            return False
        return True


def ask_what_if(run: TrainedSession, name: str | Sequence[str], values: Any, steps: int, draws: int) -> WhatIf:
    """See `Run.what_if`."""
    for what, number in (("steps", steps), ("draws", draws)):
        count = Int(1, low=1, high=1, ge=1)
        count.name = what
        count.check(number)
    if isinstance(name, Mapping):  # its values would be left out
        way = _("what_if({name!r}, [...])", name=next(iter(name), "lr"))
        raise InvalidHyperparam(_("what_if: values are given beside the names, as {way}; got a mapping.", way=way))
    question = Question(run, [name] if isinstance(name, str) else name, values)
    slices = question.slices(Trials(question.start()), steps, draws)
    found: WhatIf | None = None
    while found is None:
        found = run.worker.between_steps(lambda: do_slice(slices))
    return found


def do_slice(slices: Slices, seconds: float = SLICE_SECONDS) -> Any:
    """Do some slices, in about so many seconds; return what they return when they are done, else None."""
    end = time.perf_counter() + seconds
    try:
        while time.perf_counter() < end:
            next(slices)
    except StopIteration as done:
        return done.value
    return None


def are_apart(run: TrainedSession, names: Sequence[str]) -> bool:
    """Whether values of these hyperparameters are tried one after the other: they decide what a step computes."""
    return not find_shared(run.techniques).isdisjoint(names)


def find_values(spec: Hyperparam[Any], present: Any, count: int) -> list[Any]:
    """Return values of a declaration's range, the present one among them, in order."""
    if isinstance(spec, Flag):
        return [False, True]
    if isinstance(spec, Choice):
        return list(spec.options)
    if isinstance(spec, Float):
        exact = spread(spec.low, spec.high, count - 1 - spec.zero, spec.log)
        rounded = [float(f"{value:.3g}") for value in exact]
        found = [
            short if spec.low <= short <= spec.high else value for short, value in zip(rounded, exact, strict=True)
        ]
    elif isinstance(spec, Int) and spec.powers:
        found = [2 ** round(value) for value in spread(math.log2(spec.low), math.log2(spec.high), count - 1, log=False)]
    elif isinstance(spec, Int):
        found = [round(value) for value in spread(spec.low, spec.high, count - 1)]
    else:
        return [present]
    return sorted({spec.check(value) for value in [*found, *[0] * spec.zero, present]})
