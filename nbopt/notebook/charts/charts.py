"""Charts: one bqplot figure per quantity, training and validation together, with the marks of the changes.

Beside them, as ghosts, what a rewind gave up, and the runs that this one branched off or that branched off it. Every
figure has two line marks, whatever the number of curves: in bqplot each mark redraws on each update.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any, NamedTuple

import bqplot
import ipywidgets as widgets
import numpy as np

from nbopt.formatting import brief
from nbopt.i18n import _
from nbopt.notebook.charts.change_marks import ChangeMarks
from nbopt.notebook.charts.colours import OTHERS, PAST, TRAIN, VAL
from nbopt.notebook.charts.lines import Floats, stack
from nbopt.notebook.frontend.widgets import WidgetFactory
from nbopt.record.history import History
from nbopt.viz.curves import Curve, curve
from nbopt.viz.marks import Mark, visible
from nbopt.viz.ticks import LEAST, Span, extent, linear_ticks, log_ticks, tick_format

FEW = 2
"""Charts that are all drawn large; of more, only the first one is. `panel.css` lays them out."""

_COLOURS, _OPACITIES = [TRAIN, VAL, TRAIN, VAL], [0.28, 0.28, 1.0, 1.0]  # raw, then smoothed
_GHOST = [0.3, 0.75]  # training, validation
_TICKS = ".4~g"  # some format, on every axis: without one a single non-finite value kills a figure for good
_LINES = 100  # of change marks
_TEXTS = 6  # newest marks that bear their text; the others tell on hovering


class View(NamedTuple):
    """How the charts are looked at: shared by all charts of a panel.

    Attributes
    ----------
    axis : {"step", "epoch", "time"}
    smoothing : float
    log_y : bool
    span : (low, high) or None
        The zoomed range of x; None follows the tail.
    """

    axis: str = "step"
    smoothing: float = 0.6
    log_y: bool = False
    span: Span | None = None


class Ghost(NamedTuple):
    """Another run, drawn beside this one.

    Attributes
    ----------
    label : str
    history : History
    """

    label: str
    history: History


class _Past(NamedTuple):
    """The curves that a rewind gave up, in the unit of the x axis they were drawn in."""

    axis: str
    lines: list[tuple[Floats, Floats]]


class Chart:
    """The curves ``name`` and ``val_name`` in one figure.

    Parameters
    ----------
    name, title : str
    kit : Kit
    labels : (str, str)
        What the two curves are called.
    smooth : bool
        Whether they follow the panel's smoothing.

    Attributes
    ----------
    zoom_y : (low, high) or None
        The zoomed range of y.
    is_small : bool
        Whether it is drawn small: fewer numbers on its axes, no texts at its marks.
    marks : ChangeMarks
    keys : list of str
        What the read-out calls each line, in the order drawn; "" for those it does not name.
    """

    def __init__(
        self,
        name: str,
        title: str,
        kit: WidgetFactory,
        labels: tuple[str, str] | None = None,
        smooth: bool = True,
    ) -> None:
        self.name = name
        self._labels = labels or (_("training"), _("validation"))
        self._smooth = smooth
        self.zoom_y: Span | None = None
        self.is_small = False
        self._title = title
        self.keys: list[str] = []
        self._pair: list[Curve] = []
        self._past: _Past | None = None
        self._top_busy = False
        self._x = bqplot.LinearScale(min=0.0, max=1.0)
        self._linear, self._log = bqplot.LinearScale(min=0.0, max=1.0), bqplot.LogScale(min=0.1, max=1.0)
        self._scale = self._linear
        self.curves = bqplot.Lines(
            x=np.zeros((4, 2)),
            y=np.zeros((4, 2)),
            scales={"x": self._x, "y": self._linear},
            colors=_COLOURS,
            opacities=_OPACITIES,
            stroke_width=1.8,
        )
        self.marks = ChangeMarks(self._x)
        self._x_axis = bqplot.Axis(scale=self._x, tick_format=_TICKS, grid_lines="none")
        # One for each scale: an axis given another scale keeps the marks of the old one.
        self._y_axes = [
            bqplot.Axis(scale=scale, orientation="vertical", side="left", tick_format=_TICKS, grid_lines="solid")
            for scale in (self._linear, self._log)
        ]
        self.figure = kit.make(
            bqplot.Figure,
            css=("nbopt-figure",),
            marks=[self.marks.lines, self.curves, *self.marks.labels.values()],
            axes=[self._x_axis, self._y_axes[False]],
            fig_margin={"top": 10, "bottom": 28, "left": 52, "right": 16},
            animation_duration=0,
            background_style={"fill": "transparent"},
            display_toolbar=False,
            layout=widgets.Layout(width="100%", height="var(--nbopt-chart-height, 310px)", min_width="0"),
        )
        self._head = kit.make(widgets.HTML, css=("nbopt-chart-head",))
        css = ("nbopt-chart", f"nbopt-chart-{'-'.join(name.split())}")  # a space would end the class
        self.widget = kit.make(widgets.VBox, [self._head, self.figure], css=css)

    @property
    def names(self) -> tuple[str, str]:
        """The names of its curves in a history."""
        return self.name, f"val_{self.name}"

    @property
    def parts(self) -> list[Any]:
        """All that it is made of, the axis not shown now too."""
        return [self.widget, *self._y_axes]

    def draw(
        self,
        history: History,
        view: View,
        span: Span,
        marks: Sequence[Mark],
        at: Floats,
        ghosts: Sequence[Ghost] = (),
        pin: float | None = None,
    ) -> None:
        """Bring the figure up to date; called by the bridge alone.

        Parameters
        ----------
        history : History
        view : View
        span : (low, high)
            The range of x to show.
        marks : sequence of Mark
        at : ndarray
            Where each mark stands.
        ghosts : sequence of Ghost
        pin : float, optional
            Where the point picked on the x axis stands.
        """
        smoothing = view.smoothing if self._smooth else 0.0
        pair = [curve(history, name, view.axis, view.span, smoothing) for name in self.names]
        others = [
            curve(ghost.history, name, view.axis, view.span, smoothing) for ghost in ghosts for name in self.names
        ]
        self._pair = pair
        self._head.value = self._heading(pair, [ghost.label for ghost in ghosts], view)
        log = view.log_y and any((part.y > LEAST).any() for part in pair)
        bottom, top = self._range([part.y for part in pair] + [part.smooth_y for part in others], log)
        self._draw_axes(span, (bottom, top), log)
        lines = [*self._past_lines(view), *((part.smooth_x, part.smooth_y) for part in others)]  # behind the others
        lines += [(part.x, part.y) for part in pair] + [(part.smooth_x, part.smooth_y) for part in pair]
        if log:
            lines = [(x, np.where(y > LEAST, y, np.nan)) for x, y in lines]
        x, y = stack(lines, (span[0], bottom))
        if not log:
            self._choose_scale(log)
        with self.curves.hold_sync():
            self._dress(len(ghosts), len(lines))
            self.curves.x, self.curves.y = x, y
        if log:  # only now: a log scale has no place for what was drawn before
            self._choose_scale(log)
        ticks = visible(marks, at, span, _LINES)
        self.marks.draw(ticks, span, pin, bool(ticks) and self._is_top_busy(), 0 if self.is_small else _TEXTS)

    def give_up(self, axis: str, x: float) -> None:
        """Keep what is drawn beyond ``x`` as a ghost: the run went back."""
        beyond = [(part.smooth_x >= x, part) for part in self._pair]
        self._past = _Past(axis, [(part.smooth_x[late], part.smooth_y[late]) for late, part in beyond])

    def end_of_past(self, axis: str) -> float:
        """Return how far the ghost of what was given up reaches on the x axis; -inf if it is not drawn."""
        if self._past is None or self._past.axis != axis:
            return -np.inf
        return max((float(x[-1]) for x, _y in self._past.lines if len(x)), default=-np.inf)

    def _past_lines(self, view: View) -> list[tuple[Floats, Floats]]:
        return self._past.lines if self._past is not None and self._past.axis == view.axis else []

    def _dress(self, ghosts: int, lines: int) -> None:
        """Give each line its colour."""
        behind = [OTHERS[k] for k in range(ghosts) for _line in _GHOST]
        colours = [*[PAST] * (lines - len(_COLOURS) - len(behind)), *behind, *_COLOURS]
        if colours != self.curves.colors:
            self.curves.colors = colours
            self.curves.opacities = [*_GHOST * (len(colours) // 2 - 2), *_OPACITIES]

    def _range(self, arrays: list[Floats], log: bool) -> Span:
        low, high = extent(arrays, log)
        if self.zoom_y and not log:
            return self.zoom_y
        if self.zoom_y and self.zoom_y[1] > low:  # zoomed on a linear axis perhaps, down to 0 or below
            return (self.zoom_y[0] if self.zoom_y[0] > LEAST else low, self.zoom_y[1])
        return low, high

    def _draw_axes(self, x: Span, y: Span, log: bool) -> None:
        scale, y_axis = self._log if log else self._linear, self._y_axes[log]
        most = (4, 4) if self.is_small else (8, 6)
        ticks = linear_ticks(*x, most[0]), (log_ticks if log else linear_ticks)(*y, most[1])
        for on, (low, high), axis, values in zip((self._x, scale), (x, y), (self._x_axis, y_axis), ticks, strict=True):
            with on.hold_sync():
                on.min, on.max = low, high
            if axis.tick_values is None or not np.array_equal(axis.tick_values, values):
                axis.tick_format = tick_format(values)  # first: the browser writes new ticks in the format it has
                axis.tick_values = np.array(values)

    def _choose_scale(self, log: bool) -> None:
        scale = self._log if log else self._linear
        if self._scale is not scale:
            self._scale = scale
            self.curves.scales = {"x": self._x, "y": scale}
            self.figure.axes = [self._x_axis, self._y_axes[log]]

    def _is_top_busy(self) -> bool:
        """Whether the smoothed curves leave less room at the top than at the bottom; if in doubt, what it was."""
        y, ends = self.curves.y[-2:].astype(float), np.array([self._scale.min, self._scale.max])
        if self._scale is self._log:
            y, ends = np.log(y), np.log(ends)
        y = (y - ends[0]) / (ends[1] - ends[0])
        more = np.mean(y > 0.55) - np.mean(y < 0.45)
        if abs(more) > 0.1:
            self._top_busy = bool(more > 0)
        return self._top_busy

    def _heading(self, pair: list[Curve], ghosts: list[str], view: View) -> str:
        title = html.escape(self._title)
        text = f'<span class="nbopt-title" title="{title}">{title}</span>'
        for part, colour, label in zip(pair, (TRAIN, VAL), self._labels, strict=True):
            if len(part.x):
                text += _key(colour, label, f" <b>{brief(part.last)}</b>")
        text += "".join(_key(colour, label) for colour, label in zip(OTHERS, ghosts, strict=False))
        self.keys = [*(key for label in ghosts for key in ("", label)), "", "", *self._labels]
        if self._past_lines(view):
            text += _key(PAST, _("before going back"))
            self.keys = ["", _("before going back"), *self.keys]
        return text


def _key(colour: str, label: str, more: str = "") -> str:
    return f'<span class="nbopt-key" style="--nbopt-colour:{colour}"><span>{html.escape(label)}</span>{more}</span>'
