"""A study as a page of a notebook shows it: the best value so far, and a table of its trials."""

from __future__ import annotations

import html as escaping
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from nbopt.formatting import brief, number
from nbopt.i18n import _
from nbopt.search.subjects.objectives import Objective
from nbopt.search.trial import COMPLETE, PRUNED, Trial
from nbopt.store.table import Column, table

_SHOWN = 12  # trials in the table
_WIDTH, _HEIGHT, _EDGE, _LEFT = 520, 180, 24, 56
_WIDE = 4  # how many times as large as the least the largest is that needs a logarithmic scale
_INK, _FAINT = "var(--jp-ui-font-color1, #333)", "var(--jp-border-color1, #bbb)"
_LINE, _DOT = "#1f77b4", "#ff7f0e"


def html(
    title: str,
    objectives: Sequence[Objective],
    trials: Sequence[Trial],
    best: Sequence[Trial],
    count: int | None = None,
) -> str:
    """Return the page; ``count`` is how many trials there are, where not all are given."""
    count = len(trials) if count is None else count
    first = objectives[0]
    done = [trial for trial in trials if trial.state == COMPLETE and math.isfinite(trial.objectives[0])]
    picture = _curve(first, done) if len(objectives) == 1 else _front(objectives, done, best)
    names = list(dict.fromkeys(name for trial in trials for name in trial.values))
    columns: list[Column] = [
        (_("trial"), lambda trial: str(trial.number)),
        (_("state"), lambda trial: trial.state),
        *(
            (each.name, lambda trial, k=k: brief(trial.objectives[k]) if trial.objectives else _last(trial))
            for k, each in enumerate(objectives)
        ),
        *((name, lambda trial, name=name: _value(trial.values.get(name, ""))) for name in names),
        *([(_("steps"), lambda trial: str(trial.steps or ""))] if any(trial.steps for trial in trials) else []),
        (_("seconds"), lambda trial: f"{trial.seconds:.2f}" if trial.is_done else ""),
    ]
    ranked = sorted(done, key=lambda trial: trial.objectives[0], reverse=first.direction == "maximize")
    shown = list(dict.fromkeys([*(trial for trial in trials if not trial.is_done), *best, *ranked, *reversed(trials)]))
    shown = shown[:_SHOWN]
    rest = _("{count} more in study.to_pandas()", count=count - len(shown)) if count > len(shown) else ""
    body = table(columns, shown) if shown else f"<p>{escaping.escape(_('no trials yet'))}</p>"
    head = f'<p style="margin:4px 0"><b>{escaping.escape(title)}</b></p>'
    return f'<div class="nbopt-study">{head}{picture}{body}<p style="margin:4px 0">{escaping.escape(rest)}</p></div>'


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else number(value)


def _last(trial: Trial) -> str:
    return brief(trial.objective) if trial.state == PRUNED and trial.reports else ""


def _curve(objective: Objective, done: Sequence[Trial]) -> str:
    """Return the objective of each trial, and the best so far, against their number."""
    if len(done) < 2:
        return ""
    found = [(trial.number, trial.objectives[0]) for trial in done]
    best: list[tuple[int, float]] = []
    for place, value in found:
        held = best[-1][1] if best else value
        best.append((place, value if objective.is_better(value, held) else held))
    # What is far worse than the rest would leave no room for it.
    sound = sorted((value for _place, value in found), reverse=objective.direction == "maximize")
    limit = sound[min(len(sound) - 1, math.ceil(0.9 * len(sound)))]
    ends = [(best[-1][1]), limit]
    picture = _Picture([place for place, _found in found], ends, log=max(ends) > _WIDE * min(ends) > 0)
    steps = [picture.at(*best[0])]
    for (_before, held), (place, value) in pairwise(best):
        steps += [picture.at(place, held), picture.at(place, value)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in steps)
    drawn = f'<polyline points="{line}" fill="none" stroke="{_LINE}" stroke-width="2"/>'
    words = _("best {name} so far", name=objective.name)
    return picture.draw(picture.dots(found) + drawn, _("trial"), words)


def _front(objectives: Sequence[Objective], done: Sequence[Trial], best: Sequence[Trial]) -> str:
    """Return the first objective against the second, and which trials no other one beats."""
    if len(done) < 2:
        return ""
    found = [(trial.objectives[0], trial.objectives[1]) for trial in done]
    picture = _Picture([x for x, _y in found], [y for _x, y in found])
    front = picture.dots([(trial.objectives[0], trial.objectives[1]) for trial in best], _LINE, 4)
    return picture.draw(picture.dots(found) + front, objectives[0].name, objectives[1].name)


class _Picture:
    """A small drawing, with axes."""

    def __init__(self, xs: Sequence[float], ys: Sequence[float], log: bool = False) -> None:
        self._x, self._y, self._log = (min(xs), max(xs)), (min(ys), max(ys)), log

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return where a point is, in pixels; beyond the edge, at it."""
        across, up = _share(x, self._x), _share(y, self._y)
        if self._log:
            up = _share(math.log(max(y, self._y[0])), (math.log(self._y[0]), math.log(self._y[1])))
        return _LEFT + across * (_WIDTH - _LEFT - _EDGE), _HEIGHT - _EDGE - up * (_HEIGHT - 2 * _EDGE)

    def dots(self, points: Sequence[tuple[float, float]], colour: str = _DOT, size: float = 2.5) -> str:
        """Return points."""
        placed = [self.at(*point) for point in points]
        return "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size}" fill="{colour}"/>' for x, y in placed)

    def draw(self, inside: str, below: str, beside: str) -> str:
        """Return the drawing."""
        low, high = _HEIGHT - _EDGE, _EDGE
        frame = f'<path d="M{_LEFT},{high} V{low} H{_WIDTH - _EDGE}" fill="none" stroke="{_FAINT}"/>'
        words: list[tuple[Any, float, str, str]] = [
            (_tick(self._y[1]), high + 4, "end", str(_LEFT - 6)),
            (_tick(self._y[0]), low, "end", str(_LEFT - 6)),
            (_tick(self._x[0]), low + 15, "start", str(_LEFT)),
            (_tick(self._x[1]), low + 15, "end", str(_WIDTH - _EDGE)),
            (below, low + 15, "middle", str((_LEFT + _WIDTH) // 2)),
            (beside, high - 10, "start", str(_LEFT)),
        ]
        texts = "".join(
            f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{_INK}" font-size="11">{escaping.escape(text)}</text>'
            for text, y, anchor, x in words
        )
        size = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" style="max-width:100%"'
        name = escaping.escape(f"{beside}; {below}", quote=True)
        return f'<svg {size} role="img" aria-label="{name}">{frame}{inside}{texts}</svg>'


def _share(value: float, ends: tuple[float, float]) -> float:
    return min(1.0, max(0.0, (value - ends[0]) / (ends[1] - ends[0]))) if ends[1] > ends[0] else 0.5


def _tick(value: float) -> str:
    return str(value) if isinstance(value, int) else brief(value)
