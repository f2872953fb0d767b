"""A run's still picture: what a saved notebook shows where no kernel lives, and a page without scripts or network.

It stands below the panel, in the same output, as plain HTML; where the panel lives, style sheets hide it. It is drawn
anew whenever the run comes to rest, after each cell, and about once a minute while it trains.
"""

from __future__ import annotations

import html
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from IPython.core.getipython import get_ipython
from IPython.display import display
from numpy.typing import NDArray

from nbopt.formatting import brief, count, setting
from nbopt.i18n import _
from nbopt.notebook.charts.charts import FEW
from nbopt.notebook.charts.colours import MARK, TRAIN, VAL
from nbopt.notebook.panel.status import STATES, facts, way_back
from nbopt.run.session.steerable import Steerable
from nbopt.viz.curves import Curve, curve, whole_span
from nbopt.viz.marks import Marks, Tick, visible
from nbopt.viz.ranges import Line, off_scale, robust_extent
from nbopt.viz.ticks import linear_ticks

Floats = NDArray[np.float64]

MOST_BYTES = 60 * 1024
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 10, 24
_POINTS = 1200  # of all curves together, some 12 bytes each
_CHARTS = 8
_MARKS = 40
_CHANGES = 12  # listed
_SMOOTHING = 0.6
_USUAL = ("loss", "optimizer", "lr", "batch_size")
_FURTHEST = 1e30  # of what is drawn
_SOFT = "color:var(--jp-ui-font-color2,#616161)"
_LINE = "var(--jp-border-color2,#bbb)"


class _Size(NamedTuple):
    """How large a chart is drawn, with how many numbers on its axes, and whether its marks tell their text."""

    width: int
    height: int
    x_ticks: int
    y_ticks: int
    tells: bool


_LARGE, _SMALL = _Size(560, 230, 7, 5, True), _Size(360, 150, 4, 4, False)
_GAP = 12
_ARROW = 56  # across, of one with its number
_ABREAST = 2 * (_SMALL.width + _GAP)  # wide: two small charts beside each other, as in a panel
_TOP_CHART = _LARGE._replace(width=_ABREAST - _GAP)

# After the page was loaded again, the output before it may only say that there is no widget: nobody needs that.
_ALONE = (
    "<style>.jp-OutputArea-child:has(+ * .nbopt-still):not(:has(.jp-OutputArea-output > *)) {display: none}</style>"
)
_SECONDS = 50.0  # between two pictures of a run in training: a few more pass until that is looked at

_displayed: weakref.WeakSet[StillPicture] = weakref.WeakSet()
_due: list[StillPicture] = []


class StillPicture:
    """HTML below what a cell shows, for pages where that cannot live.

    Parameters
    ----------
    name : str
        Tells it from other outputs of the notebook.
    moment : callable
        Returns what the picture depends on: it is drawn anew once that has changed.
    draw : callable
        Returns the picture as HTML.
    text : callable
        Returns what stands for it where there is no HTML.
    """

    def __init__(
        self, name: str, moment: Callable[[], tuple[Any, ...]], draw: Callable[[], str], text: Callable[[], str]
    ) -> None:
        self._name, self._moment, self._text = name, moment, text
        self.draw = draw
        self._lock = threading.Lock()
        self._drawn: tuple[Any, ...] | None = None
        self._due = 0.0

    def display(self) -> None:
        """Put the picture under the running cell, once that is done. Does nothing where there is no kernel."""
        shell = get_ipython()
        if shell is None or not hasattr(shell, "kernel"):
            return
        _due.append(self)
        if _after_cell not in shell.events.callbacks["post_run_cell"]:
            shell.events.register("post_run_cell", _after_cell)

    def put(self) -> None:
        """Put the picture here and now."""
        with self._lock:
            self._drawn = self._moment()
            self._publish(update=False)

    def refresh(self) -> None:
        """Draw it anew, wherever it stands, if the run went on."""
        with self._lock:
            if self._drawn not in (None, moment := self._moment()):
                self._drawn = moment
                self._publish(update=True)

    def keep_up(self) -> None:
        """Draw it anew if it is a minute old: called ever again while the run trains."""
        if time.monotonic() >= self._due:
            self.refresh()

    def _publish(self, update: bool) -> None:
        self._due = time.monotonic() + _SECONDS
        bundle = {"text/html": self.draw() + _ALONE, "text/plain": self._text()}
        display(bundle, raw=True, display_id=self._name, update=update)  # type: ignore[no-untyped-call]


class StaticView(StillPicture):
    """The still picture of one run.

    Parameters
    ----------
    run : Steerable
    titles : dict of str to str
        Name and title of each chart.
    """

    def __init__(self, run: Steerable, titles: dict[str, str]) -> None:
        def moment() -> tuple[Any, ...]:
            return run.state, run.step_count, len(run.journal)

        super().__init__(f"nbopt-{run.id}", moment, lambda: still(run, titles), lambda: repr(run))


def _after_cell(_result: object = None) -> None:
    for shown in list(_displayed):
        shown.refresh()
    while _due:  # only now: a panel is to be the first thing in its output
        shown = _due.pop(0)
        shown.put()
        _displayed.add(shown)


def still(run: Steerable, titles: dict[str, str]) -> str:
    """Return the picture as HTML, at most `MOST_BYTES` long."""
    values = run.hyperparams
    marks = Marks(run.journal, values.label)
    marks.refresh()
    charts = [name for name in titles if any(key in run.history for key in (name, f"val_{name}"))][:_CHARTS]
    points = _POINTS // max(1, 2 * len(charts))
    span = whole_span(run.history, [key for name in charts for key in (name, f"val_{name}")])
    ticks = visible(marks.marks, np.array([mark.step for mark in marks.marks], float), span, _MARKS)
    many = len(charts) > FEW
    sizes = [_TOP_CHART] + [_SMALL] * len(charts) if many else [_LARGE] * len(charts)
    pictures = "".join(
        _chart(run, name, titles[name], span, ticks, points, size) for name, size in zip(charts, sizes, strict=False)
    )
    width = f";align-items:flex-end;max-width:{_ABREAST}px" if many else ""
    changes = [mark.text.replace("\n", ", ")[:200] + f" @ {count(mark.step)}" for mark in marks.marks[-_CHANGES:]]
    lines = [
        f"<b>{html.escape(run.name[:200])}</b> · {html.escape(_(STATES[run.state]))} · "
        + html.escape(" · ".join(f"{name} {value}" for name, value in facts(run))),
        html.escape(" · ".join(f"{values.label(name)} {setting(values[name])}" for name in _telling(run))),
        html.escape(_("changes: {list}", list=" · ".join(changes))) if changes else "",
        html.escape(run.exactness[:500]),
        html.escape(run.end_reason[:500]),
    ]
    text = "".join(f'<div style="{_SOFT if row else ""}">{line}</div>' for row, line in enumerate(lines) if line)
    return (
        f'<div class="nbopt-still" style="font-size:13px;padding:8px 0">{text}'
        f'<div style="display:flex;flex-wrap:wrap{width}">{pictures}</div>'
        f'<div style="{_SOFT}">{way_back(run)}</div></div>'
    )


def _telling(run: Steerable) -> list[str]:
    """Return the hyperparameters that make the run what it is: the usual ones, and those that are not as by default."""
    values = run.hyperparams
    return [
        name
        for name in values
        if name in values.active and (name in _USUAL or values[name] != values.spec(name).default)
    ]


def _chart(
    run: Steerable, name: str, title: str, span: tuple[float, float], ticks: Sequence[Tick], points: int, size: _Size
) -> str:
    pair = [curve(run.history, key, smoothing=_SMOOTHING) for key in (name, f"val_{name}")]
    pair = [_thinned(part, points) for part in pair]
    low, high = robust_extent([part.smooth_y for part in pair])

    def across(x: Any) -> Any:
        return _LEFT + (np.asarray(x) - span[0]) / (span[1] - span[0]) * (size.width - _LEFT - _RIGHT)

    def up(y: Any) -> Any:
        return size.height - _BOTTOM - (np.asarray(y) - low) / (high - low) * (size.height - _TOP - _BOTTOM)

    parts = []
    for value in linear_ticks(low, high, size.y_ticks):
        parts.append(f'<path d="M{_LEFT} {up(value):.1f}H{size.width - _RIGHT}" stroke="{_LINE}" stroke-opacity=".5"/>')
        parts.append(_text(_LEFT - 6, up(value) + 4, "end", brief(value)))
    for value in linear_ticks(*span, size.x_ticks):
        parts.append(
            _text(across(value), size.height - 6, "middle", count(value) if value == round(value) else brief(value))
        )
    for tick in ticks:
        at = f"{across(tick.x):.1f}"
        told = f"<title>{html.escape(tick.text[:200])}</title>" if size.tells else ""
        line = f'd="M{at} {_TOP}V{size.height - _BOTTOM}" stroke="{MARK}" stroke-dasharray="4 3"'
        parts.append(f"<path {line}>{told}</path>")
    key = f"<b>{html.escape(title)}</b>"
    lines: list[Line] = []
    for part, colour, label in zip(pair, (TRAIN, VAL), (_("training"), _("validation")), strict=True):
        if len(part.x):
            at_x, at_y = _on_scale(part.smooth_x, part.smooth_y, low, high)
            parts.append(f'<path d="{_path(across(at_x), up(at_y))}" stroke="{colour}" fill="none"/>')
            lines.append(Line(colour, part.smooth_x, part.smooth_y))
            key += f' <span style="color:{colour}">—</span> {html.escape(label)} {brief(part.last)}'
    arrows = off_scale(lines, span, (low, high))
    for arrow in arrows:
        beside = [one.y for one in arrows if one.up is arrow.up and abs(across(one.x) - across(arrow.x)) < _ARROW]
        if abs(arrow.y) == max(map(abs, beside)):  # of several, the farthest
            height = _TOP + 10 if arrow.up else size.height - _BOTTOM - 3
            parts.append(_text(across(arrow.x), height, "start", f"{'▲' if arrow.up else '▼'} {brief(arrow.y)}"))
    picture = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size.width} {size.height}" width="{size.width}" '
        f'style="max-width:100%" role="img" aria-label="{html.escape(title, quote=True)}" stroke-width="1.5">'
        f"{''.join(parts)}</svg>"
    )
    return f'<div style="margin:6px {_GAP}px 0 0"><div>{key}</div>{picture}</div>'


def _thinned(part: Curve, points: int) -> Curve:
    every = -(-len(part.smooth_x) // points) or 1
    keep = slice((len(part.smooth_x) - 1) % every if len(part.smooth_x) else 0, None, every)  # the newest one too
    return part._replace(smooth_x=part.smooth_x[keep], smooth_y=np.clip(part.smooth_y[keep], -_FURTHEST, _FURTHEST))


def _on_scale(x: Floats, y: Floats, low: float, high: float) -> tuple[Floats, Floats]:
    """Return a line with NaN where it is off the scale, and a point more wherever it crosses one of its ends."""
    known = np.isfinite(y)
    x, y = x[known], y[known]
    for end in (low, high):
        (at,) = np.nonzero((y[1:] > end) != (y[:-1] > end))
        share = (end - y[at]) / (y[at + 1] - y[at])
        x, y = np.insert(x, at + 1, x[at] + share * (x[at + 1] - x[at])), np.insert(y, at + 1, end)
    return x, np.where((y >= low) & (y <= high), y, np.nan)


def _path(x: Floats, y: Floats) -> str:
    """Return a line as the path of an SVG, broken off where it is NaN."""
    known = np.isfinite(y)
    begins = known & ~np.append(False, known[:-1])
    points = zip(x[known], y[known], begins[known], strict=True)
    return "".join(f"{'M' if begin else 'L'}{a:.1f} {b:.1f}" for a, b, begin in points)


def _text(x: float, y: float, anchor: str, text: str) -> str:
    # On ground of its own, so that it is read over whatever lies there.
    ground = 'stroke="var(--jp-layout-color0,#fff)" stroke-width="3" paint-order="stroke"'
    style = f'font-size="11" fill="var(--jp-ui-font-color2,#616161)" {ground}'
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {style}>{html.escape(text)}</text>'
