"""How good models are and how large, as plain data of charts: places from 0 to 1, and what stands beside them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from nbopt.viz.ticks import extent, linear_ticks, log_ticks, tick_format, written

_TICKS = 5


class Mark(NamedTuple):
    """A model in a chart.

    Attributes
    ----------
    kind : str
        ``now``, ``was``, ``stored``, ``beyond``, ``full`` or ``run``.
    x, y : float
        Its size, or what it costs, and its score.
    label : str
    """

    kind: str
    x: float
    y: float
    label: str


class Scale(NamedTuple):
    """An axis.

    Attributes
    ----------
    low, high : float
    is_log : bool
    ticks : list of (float, str)
        Places from 0 to 1, and what is written there.
    """

    low: float
    high: float
    is_log: bool
    ticks: list[tuple[float, str]]

    def place(self, value: float) -> float:
        """Return where a value stands, 0 being the lower end and 1 the upper one."""
        if self.is_log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def make_scale(values: Iterable[float], log: bool = False, write: Callable[[float], str] | None = None) -> Scale:
    """Return an axis on which all finite values stand."""
    low, high = extent([np.array([*values], float)], log)
    places = log_ticks(low, high, _TICKS) if log else linear_ticks(low, high, _TICKS)
    form = tick_format(places)
    scale = Scale(low, high, log, [])
    texts = [write(place) if write else written(form, place) for place in places]
    return scale._replace(ticks=[(scale.place(at), text) for at, text in zip(places, texts, strict=True)])


def find_front(marks: Sequence[Mark], lower_is_better: bool) -> list[Mark]:
    """Return the models that no other one beats in both, smallest first: the Pareto front.

    Examples
    --------
    >>> marks = [Mark("was", 4, 0.9, "a"), Mark("was", 2, 0.8, "b"), Mark("was", 3, 0.7, "c")]
    >>> [mark.label for mark in find_front(marks, lower_is_better=False)]
    ['b', 'a']
    """
    sign = -1 if lower_is_better else 1
    front: list[Mark] = []
    for mark in sorted(marks, key=lambda mark: (mark.x, -sign * mark.y)):
        if math.isfinite(mark.y) and (not front or sign * mark.y > sign * front[-1].y):
            front.append(mark)
    return front


def draw_marks(
    marks: Sequence[Mark],
    lower_is_better: bool,
    write_x: Callable[[float], str],
    write_y: Callable[[float], str],
) -> dict[str, Any]:
    """Return a chart of models: its axes, marks and front.

    Parameters
    ----------
    lower_is_better : bool
    write_x, write_y : callable
        How numbers are written at the axes.
    """
    marks = [mark for mark in marks if math.isfinite(mark.x) and math.isfinite(mark.y)]
    if not marks:
        return {}
    marks = _put_beyond(marks, -1 if lower_is_better else 1)
    x = make_scale([mark.x for mark in marks], all(mark.x > 0 for mark in marks), write_x)
    y = make_scale([mark.y for mark in marks if mark.kind != "beyond"], write=write_y)
    front = find_front([mark for mark in marks if mark.kind != "beyond"], lower_is_better)
    return {
        "x": x.ticks,
        "y": y.ticks,
        "marks": [[mark.kind, _cut(x.place(mark.x)), _inside(y.place(mark.y)), mark.label] for mark in marks],
        "front": [[_cut(x.place(mark.x)), _cut(y.place(mark.y))] for mark in front],
    }


def _put_beyond(marks: Sequence[Mark], sign: int) -> list[Mark]:
    """Mark stored models as beyond the scale that are worse than half of them and all others: those of the first steps.

    A scale down to a model that has learned nothing would have no room for what sizes cost.
    """
    stored = sorted(sign * mark.y for mark in marks if mark.kind == "stored")
    others = [sign * mark.y for mark in marks if mark.kind != "stored"]
    if not stored or not others:
        return [*marks]
    least = min(stored[len(stored) // 2], *others)
    is_beyond = [mark.kind == "stored" and sign * mark.y < least for mark in marks]
    return [mark._replace(kind="beyond") if off else mark for mark, off in zip(marks, is_beyond, strict=True)]


def draw_lines(
    values: Sequence[float],
    texts: Sequence[str],
    lines: Mapping[str, Sequence[float]],
    at: float,
    write_y: Callable[[float], str],
    write_score: Callable[[float], str],
) -> dict[str, Any]:
    """Return a chart of scores against the values of a number, which stand side by side.

    Parameters
    ----------
    values : sequence of float
    texts : sequence of str
        What is written below each.
    lines : mapping of str to sequence of float
        A score for each value, by what is written beside the line; NaN leaves a gap.
    at : float
        The present value.
    write_y, write_score : callable
        How scores are written at the axis, and beside a point.
    """
    known = [score for line in lines.values() for score in line if math.isfinite(score)]
    if not known:
        return {}
    y = make_scale(known, write=write_y)
    places = [_cut((k + 0.5) / len(values)) for k in range(len(values))]
    return {
        "x": [*zip(places, texts, strict=True)],
        "y": y.ticks,
        "at": _between(at, values, places),
        "lines": [
            [
                name,
                [
                    [place, _cut(y.place(score)), value, f"{text}: {write_score(score)}"]
                    for place, text, value, score in zip(places, texts, values, line, strict=True)
                    if math.isfinite(score)
                ],
            ]
            for name, line in lines.items()
        ],
    }


def _between(at: float, values: Sequence[float], places: Sequence[float]) -> float | None:
    """Return where a value stands among others; None where it is beyond them."""
    if at in values:
        return places[values.index(at)]
    order = np.argsort(values)
    inside = min(values) < at < max(values)
    return _cut(float(np.interp(at, np.array(values)[order], np.array(places)[order]))) if inside else None


def _inside(place: float) -> float:
    return min(1.0, max(0.0, _cut(place)))


def _cut(place: float) -> float:
    return round(place, 4)
