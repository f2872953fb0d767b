"""The trials of a study, as plain data: axes, where trials lie on them, and the best so far."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbopt.formatting import brief, number
from nbopt.i18n import _
from nbopt.search.spaces.dimension import Dimension
from nbopt.search.spaces.space import Space
from nbopt.search.subjects.objectives import Objective
from nbopt.search.trial import Trial
from nbopt.viz.ranges import robust_extent
from nbopt.viz.ticks import linear_ticks, log_ticks

Array = NDArray[np.float64]

TRIAL, TIME = " trial", " time"
"""Names of axes that are no hyperparameter."""

_TICKS = 6
_KINDS = 10  # of a choice, that have their names on the axis
_ZERO = 0.06  # of an axis, below the least value of a log scale: where 0 stands
_WIDE = 4  # how many times as large as the least the largest is that needs a logarithmic scale


class Axis(NamedTuple):
    """What trials are drawn along.

    Attributes
    ----------
    name, label : str
    low, high : float
        Its ends; of a choice, the numbers of the first and the last option.
    log : bool
        Whether it is logarithmic.
    kinds : tuple of str
        The options of a choice; empty where values are numbers.
    whole : bool
        Whether values are whole numbers.
    zero : bool
        Whether 0 stands below the least value of a logarithmic axis.
    """

    name: str
    label: str
    low: float
    high: float
    log: bool = False
    kinds: tuple[str, ...] = ()
    whole: bool = False
    zero: bool = False

    def places(self, values: Array) -> Array:
        """Return where values lie, from 0 to 1; what lies beyond an end, at it; NaN for what is none."""
        if self.kinds:
            return (np.asarray(values, float) + 0.5) / len(self.kinds)
        if self.high <= self.low:
            return np.where(np.isnan(values), np.nan, 0.5)
        if not self.log:
            return np.clip((np.asarray(values, float) - self.low) / (self.high - self.low), 0, 1)
        start = _ZERO if self.zero else 0.0
        with np.errstate(divide="ignore", invalid="ignore"):
            along = np.log(np.asarray(values, float) / self.low) / math.log(self.high / self.low)
        return np.where(np.asarray(values) <= 0, 0.0, np.clip(start + (1 - start) * along, 0, 1))

    def value(self, place: float) -> float:
        """Return the value at a place; of a choice, the number of the option."""
        place = min(1.0, max(0.0, place))
        if self.kinds:
            return float(min(len(self.kinds) - 1, int(place * len(self.kinds))))
        if not self.log:
            return self.low + place * (self.high - self.low)
        start = _ZERO if self.zero else 0.0
        if self.zero and place < start / 2:
            return 0.0
        along = max(0.0, (place - start) / (1 - start))
        return math.exp(math.log(self.low) + along * math.log(self.high / self.low))

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Place and text of what it is labelled with."""
        if self.kinds:
            few = len(self.kinds) <= _KINDS
            return [((k + 0.5) / len(self.kinds), text) for k, text in enumerate(self.kinds)] if few else []
        if self.high <= self.low:
            return [(0.5, number(self.low))]
        found = (log_ticks if self.log else linear_ticks)(self.low, self.high, _TICKS)
        if self.whole:
            found = [tick for tick in found if tick == int(tick)]
        zero = [0.0] if self.zero else []
        marked = zero + found
        return [(float(at), number(tick)) for at, tick in zip(self.places(np.array(marked)), marked, strict=True)]

    def text(self, value: float) -> str:
        """Return a value in words."""
        if math.isnan(value):
            return ""
        if self.kinds:
            return self.kinds[int(value)]
        return number(value) if value == round(value) else brief(value)


class Column(NamedTuple):
    """An axis, and the value of each trial on it; NaN where it has none."""

    axis: Axis
    values: Array

    @property
    def places(self) -> Array:
        """Where trials lie on the axis."""
        return self.axis.places(self.values)


def value_columns(space: Space, declared: Space, trials: Sequence[Trial]) -> list[Column]:
    """Return a column for each dimension, those that an objective suggested itself among them.

    Axes reach over the ranges declared, and to values beyond that a hand gave.
    """
    found = [_of_dimension(declared[name], each, trials) for name, each in space.items()]
    own: dict[str, Any] = {}
    for trial in trials:
        for name, distribution in (trial.distributions or {}).items():
            own.setdefault(name, distribution)
    return found + [_of_distribution(name, each, trials) for name, each in own.items() if name not in space]


def objective_columns(objectives: Sequence[Objective], trials: Sequence[Trial]) -> list[Column]:
    """Return a column for each objective: what complete trials reached, or the last value on the way."""
    found = []
    for place, each in enumerate(objectives):
        values = np.array([_reached(trial, place) for trial in trials], float)
        finite = values[np.isfinite(values)]
        log = bool(len(finite)) and float(np.quantile(finite, 0.9)) > _WIDE * float(finite.min()) > 0
        low, high = robust_extent([np.sort(finite)], log)
        found.append(Column(Axis(each.name, label_of(each), low, high, log), values))
    return found


def course_columns(trials: Sequence[Trial]) -> list[Column]:
    """Return the columns of numbers and of the time spent searching by the end of each trial."""
    count = max(1, len(trials))
    numbers = Column(Axis(TRIAL, _("Trial"), 0.0, float(count), whole=True), np.arange(len(trials), dtype=float))
    spent = time_spent(trials)
    known = spent[np.isfinite(spent)]
    end = float(known.max()) if len(known) and known.max() > 0 else 1.0
    return [numbers, Column(Axis(TIME, _("Search time (s)"), 0.0, end), spent)]


def time_spent(trials: Sequence[Trial]) -> Array:
    """Return the seconds in which any trial was under way, up to the end of each; NaN of what has not ended."""
    ends = np.array([trial.ended if trial.is_done else math.nan for trial in trials], float)
    spent = np.full(len(trials), math.nan)
    total, until = 0.0, -math.inf
    for place in np.argsort(ends, kind="stable"):
        if math.isnan(ends[place]):
            continue
        begin = max(ends[place] - trials[place].seconds, until)
        total += max(0.0, ends[place] - begin)
        until = max(until, float(ends[place]))
        spent[place] = total
    return spent


def best_so_far(at: Array, values: Array, direction: str) -> tuple[Array, Array]:
    """Return where the best value changed, in order, and the best from there on; of complete trials' values.

    Parameters
    ----------
    at, values : ndarray, shape (trials,)
        NaN where a trial has none.
    direction : str
        ``minimize`` or ``maximize``.
    """
    known = np.isfinite(at) & np.isfinite(values)
    order = np.argsort(at[known], kind="stable")
    at, values = at[known][order], values[known][order]
    if not len(at):
        return at, values
    held = np.minimum.accumulate(values) if direction == "minimize" else np.maximum.accumulate(values)
    changed = np.concatenate([[True], held[1:] != held[:-1]])
    return at[changed], held[changed]


def label_of(objective: Objective) -> str:
    """Return what an objective is called on an axis."""
    name = objective.name.replace("_", " ")
    return name[:1].upper() + name[1:]


def _reached(trial: Trial, place: int) -> float:
    if place < len(trial.objectives):
        return trial.objectives[place]
    return trial.objective if place == 0 and trial.reports else math.nan


def _of_dimension(declared: Dimension, now: Dimension, trials: Sequence[Trial]) -> Column:
    name, label = declared.name, declared.spec.label or declared.name
    if declared.options:
        return _of_kinds(name, label, [*declared.options, *now.options], trials)
    low, high = (2.0**declared.low, 2.0**declared.high) if declared.powers else (declared.low, declared.high)
    searched = (2.0**now.low, 2.0**now.high) if now.powers else (now.low, now.high)
    return _of_numbers(name, label, [low, high, *searched], declared.log or declared.powers, declared.whole, trials)


def _of_distribution(name: str, distribution: Any, trials: Sequence[Trial]) -> Column:
    if hasattr(distribution, "choices"):
        return _of_kinds(name, name, list(distribution.choices), trials)
    ends = [float(distribution.low), float(distribution.high)]
    return _of_numbers(name, name, ends, bool(distribution.log), isinstance(distribution.low, int), trials)


def _of_kinds(name: str, label: str, options: Iterable[Any], trials: Sequence[Trial]) -> Column:
    seen = [trial.values[name] for trial in trials if name in trial.values]
    kinds = list(dict.fromkeys(number(option) for option in [*options, *seen]))
    at = {text: float(place) for place, text in enumerate(kinds)}
    values = [at[number(trial.values[name])] if name in trial.values else math.nan for trial in trials]
    return Column(Axis(name, label, 0.0, float(len(kinds) - 1), kinds=tuple(kinds)), np.array(values, float))


def _of_numbers(
    name: str, label: str, ends: Sequence[float], log: bool, whole: bool, trials: Sequence[Trial]
) -> Column:
    values = np.array([_number_of(trial.values, name) for trial in trials], float)
    known = values[np.isfinite(values)]
    zero = log and bool((known <= 0).any())
    known = known[known > 0] if log else known
    reach = [*ends, *map(float, known)]
    low, high = min(reach), max(reach)
    return Column(Axis(name, label, low, high, log and low > 0, whole=whole, zero=zero), values)


def _number_of(values: Mapping[str, Any], name: str) -> float:
    value = values.get(name, math.nan)
    return float(value) if isinstance(value, (int, float)) else math.nan
