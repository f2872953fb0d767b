"""What a study searches for: names of measurements, or functions of a trained run."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nbopt.errors import InvalidHyperparam, shorten, unknown
from nbopt.i18n import _
from nbopt.run.population.forks import take_out
from nbopt.run.run import Run
from nbopt.search.results.sizes import SIZES
from nbopt.search.subjects.proposing import as_number
from nbopt.techniques.metrics.choice import METRICS

DIRECTIONS = ("minimize", "maximize")
_LOWER = ("loss", "mae", "rmse", "mse", "error", "time", "params", "size")


@dataclass(frozen=True)
class Objective:
    """One number that a trial is judged by.

    Attributes
    ----------
    name : str
    direction : str
        ``minimize`` or ``maximize``.
    function : callable, optional
        Of a trained run; by default it is read from the run's history.
    """

    name: str
    direction: str
    function: Callable[[Any], Any] | None = None

    @property
    def worst(self) -> float:
        """What a trial has come to that reports no number."""
        return math.inf if self.direction == "minimize" else -math.inf

    def measure(self, session: Any) -> float:
        """Return what a run or a member that has ended is worth: that of the weights that it ended with."""
        if self.function is not None:
            is_own = self.function not in SIZES.values()
            return as_number(self.function(_as_run(session) if is_own else session))
        steps, values = session.history[self.name]
        if not len(values):
            return math.nan
        training = session.training
        if any(restores() for restores in training.acting.restores_best) and training.judge.best_step in list(steps):
            return float(values[list(steps).index(training.judge.best_step)])
        return float(values[-1])

    def sane(self, value: float) -> float:
        """Return a number; the worst one where it is none."""
        return self.worst if math.isnan(value) else value

    def is_better(self, value: float, other: float) -> bool:
        """Whether a value is better than another one."""
        return value < other if self.direction == "minimize" else value > other


def _as_run(session: Any) -> Run:
    """Return what a function of the user's is given: a run, also of a member, which can do less."""
    if isinstance(session, Run):
        return session
    run = take_out(session, Run, session.name, None, listed=False)
    run.become(session.state, session.end_reason)
    return run


def reported(objectives: Sequence[Objective], session: Any) -> float | None:
    """Return what a run or a member that was validated has to report on its way; None where nothing is compared."""
    first = objectives[0]
    if first.function is not None or len(objectives) > 1:
        return None
    value = session.history.last(first.name)
    return None if value is None else float(value)


def tell_apart(objectives: Sequence[Objective], recorded: Sequence[float], run: Any) -> None:
    """Have a run that was trained again say where it measures anything else, as after steps done at once with others.

    Parameters
    ----------
    objectives : sequence of Objective
    recorded : sequence of float
        What its trial had; none where it did not come to an end.
    run : Run
    """
    for each, then in zip(objectives, recorded, strict=False):
        now = then if each.function is not None else each.measure(run)
        if now != then:
            what = {"name": each.name, "now": now, "then": then}
            told = _("trained again by itself, its {name} is {now!r}; the trial had {then!r}.", **what)
            run.journal.event(run.step_count, "note", told)


def find_objectives(given: Any, directions: Any, measured: Sequence[str] | None) -> list[Objective]:
    """Return the objectives that are meant.

    Parameters
    ----------
    given : str, callable, or list of these
    directions : str, list of str or None
        By default, what is a loss or an error is minimized, a metric maximized.
    measured : sequence of str or None
        What a run's history will have; None where functions are not of runs.

    Raises
    ------
    InvalidHyperparam
        For what is measured by no run, and where it cannot be told which way is better.
    """
    each = list(given) if isinstance(given, (list, tuple)) else [given]
    ways: list[Any] = [None] * len(each)
    if directions is not None:
        ways = list(directions) if isinstance(directions, (list, tuple)) else [directions]
    if not each or len(ways) != len(each):
        told = _("there are {count} objectives and {ways} directions", count=len(each), ways=len(ways))
        raise InvalidHyperparam(_("{told}: give one direction for each objective.", told=told))
    found = [_find(item, way, measured) for item, way in zip(each, ways, strict=True)]
    if len({objective.name for objective in found}) < len(found):
        raise InvalidHyperparam(_("two objectives have the same name: give functions of different names."))
    return found


def _find(given: Any, way: Any, measured: Sequence[str] | None) -> Objective:
    if way is not None and way not in DIRECTIONS:
        raise unknown(_("direction"), way, DIRECTIONS)
    if callable(given):
        name = str(getattr(given, "__name__", type(given).__name__))
        return Objective("objective" if name == "<lambda>" else name, way or "minimize", given)
    if not isinstance(given, str):
        rule = _("objective must be the name of a measurement, a function, or a list of these")
        raise InvalidHyperparam(_("{rule}; got {value}.", rule=rule, value=shorten(given)))
    if measured is None:
        told = _("objective {name!r} is measured by runs, and there is no build to make one", name=given)
        raise InvalidHyperparam(_("{told}: give build=, or a function of a trial.", told=told))
    if given not in measured:
        if given in SIZES:
            return Objective(given, way or DIRECTIONS[0], SIZES[given])
        if given.startswith("val_") and given.removeprefix("val_") in measured:
            raise InvalidHyperparam(_("objective {name!r} needs validation data: give val=.", name=given))
        if (metric := given.removeprefix("val_")) in METRICS:
            way = f"metrics=[{metric!r}]"
            raise InvalidHyperparam(_("objective {name!r} is not measured: give {way}.", name=given, way=way))
        raise unknown(_("objective"), given, [*measured, *SIZES])
    return Objective(given, way or _direction_of(given))


def _direction_of(name: str) -> str:
    bare = name.removeprefix("val_")
    if any(bare == low or bare.endswith(f"_{low}") for low in _LOWER):
        return DIRECTIONS[1] if bare.startswith("neg_") else DIRECTIONS[0]
    if bare in METRICS or any(bare.endswith(f"_{metric}") for metric in METRICS):
        return DIRECTIONS[1]
    way = _("give direction='maximize' or direction='minimize'")
    raise InvalidHyperparam(_("is a higher {name} better, or a lower one? Say so: {way}.", name=name, way=way))
