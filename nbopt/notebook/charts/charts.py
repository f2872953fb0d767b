"""Charts: one bqplot figure per quantity, training and validation together.

Beside them, as ghosts, what a rewind gave up, and the runs that this one branched off or that branched off it. Every
figure has one mark, whatever the number of curves: in bqplot each mark redraws on each update.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import bqplot
import ipywidgets as widgets
import numpy as np

from nbopt.i18n import _
from nbopt.notebook.charts.bands import outlines
from nbopt.notebook.charts.colours import MARK, PAST, TRAIN, VAL
from nbopt.notebook.charts.heading import heading
from nbopt.notebook.charts.lines import stack
from nbopt.notebook.charts.overlay import Overlay
from nbopt.notebook.charts.view import Scene, View
from nbopt.notebook.frontend.widgets import WidgetFactory
from nbopt.record.history import History
from nbopt.viz.curves import BUCKETS, Curve, curve
from nbopt.viz.marks import visible
from nbopt.viz.ranges import Line, off_scale, robust_extent, settled
from nbopt.viz.ticks import LEAST, Span, extent, linear_ticks, log_ticks, tick_format, written

FEW = 2
"""Charts that are all drawn large; of more, only the first one is. `panel.css` lays them out."""

_COLOURS, _OPACITIES = [TRAIN, VAL, TRAIN, VAL], [0.2, 0.2, 1.0, 1.0]  # raw, then smoothed
_GHOST = [0.3, 0.75]  # training, validation
# Some format, on every axis: without one a single non-finite value kills a figure for good. Dashed to bqplot alone
# (panel.css): to take dashes away, it has the page reckon the styles of each line anew.
_GRID: dict[str, Any] = {"tick_format": ".4~g", "grid_lines": "dashed"}
_LINES = 100  # of change marks
_MARGIN, _LETTERS, _LETTER = 52, 7, 8  # left of a chart: pixels, the letters that have room, and what another one takes
_SMALL_BUCKETS = BUCKETS // 2  # of a chart that is drawn small


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
    is_loss : bool
        Whether it shows a loss, which may be drawn on a logarithmic axis.
    title : str
    log : bool or None
        Whether it is to be; None as the view says.
    zoom_y : (low, high) or None
        The zoomed range of y.
    shows_all : bool
        Whether y reaches as far as the curves do, their spikes and their start too.
    is_small : bool
        Whether it is drawn small: fewer numbers on its axes, no texts at its marks.
    over : Overlay
        What the page draws over the curves.
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
        self.is_loss = name == "loss" or name.endswith("_loss")
        self.log: bool | None = None
        self._labels = labels or (_("training"), _("validation"))
        self._smooth = smooth
        self.zoom_y: Span | None = None
        self.shows_all = False
        self.is_small = False
        self.over = Overlay()
        self.title = title
        self.keys: list[str] = []
        self._top_busy = False
        self._shown: Span | None = None  # the range of y, where nobody chose one
        self._x, self._linear = (bqplot.LinearScale(min=0.0, max=1.0) for _axis in "xy")
        self._scale: Any = self._linear
        self.curves = bqplot.Lines(
            x=np.zeros((4, 2)),
            y=np.zeros((4, 2)),
            scales={"x": self._x, "y": self._linear},
            colors=_COLOURS,
            opacities=_OPACITIES,
            stroke_width=1.8,
        )
        self._x_axis = bqplot.Axis(scale=self._x, grid_color=MARK, **_GRID)
        # One for each scale: an axis given another scale keeps the marks of the old one.
        self._y_axes = [_upright(self._linear)]
        self.figure = kit.make(
            bqplot.Figure,
            css=("nbopt-figure",),
            marks=[self.curves],
            axes=[self._x_axis, *self._y_axes],
            fig_margin={"top": 10, "bottom": 28, "left": _MARGIN, "right": 16},
            animation_duration=0,
            background_style={"fill": "transparent"},
            display_toolbar=False,
            layout=kit.share(widgets.Layout, width="100%", height="var(--nbopt-chart-height, 310px)", min_width="0"),
            **dict.fromkeys(
                ("scale_x", "scale_y"), kit.share(bqplot.LinearScale, min=0.0, max=1.0, allow_padding=False)
            ),
        )
        self._head = kit.make(widgets.HTML, css=("nbopt-chart-head",))
        css = ("nbopt-chart", f"nbopt-chart-{'-'.join(name.split())}")  # a space would end the class
        self.widget = kit.make(widgets.VBox, [self._head, self.figure], css=css)

    @property
    def _is_log(self) -> bool:
        return self._scale is not self._linear

    @property
    def names(self) -> tuple[str, str]:
        """The names of its curves in a history."""
        return self.name, f"val_{self.name}"

    def smoothing(self, view: View) -> float:
        """Return how much its curves are smoothed."""
        return view.smoothing if self._smooth else 0.0

    @cached_property
    def _log(self) -> Any:
        """The logarithmic scale, made with its axis when it is first wanted."""
        scale = bqplot.LogScale(min=0.1, max=1.0)
        self._y_axes.append(_upright(scale))
        return scale

    @property
    def parts(self) -> list[Any]:
        """All that it is made of, the axis not shown now too."""
        return [self.widget, *self._y_axes]

    def as_sent(self) -> dict[str, Any]:
        """Return what the page is to know of it beside its figure, as JSON."""
        raws = [-1] * (len(self.keys) - 2) + [len(self.keys) - 4, len(self.keys) - 3]
        return {
            "lines": self.curves.model_id,
            "names": self.keys,
            "raws": raws if self._smooth else [],
            "label": _("{name} against training progress", name=self.name),
            "log": self._is_log if self.is_loss else None,
            "left": self.figure.fig_margin["left"],
            "over": self.over.as_sent((self._x.min, self._x.max)),
        }

    def fit(self) -> None:
        """End a zoom; where there is none, show all there is, or no longer."""
        self.shows_all = self.zoom_y is None and not self.shows_all
        self.zoom_y = None

    def draw(self, history: History, view: View, scene: Scene) -> None:
        """Bring the figure up to date; called by the bridge alone."""
        smoothing = self.smoothing(view)
        most = _SMALL_BUCKETS if self.is_small else BUCKETS

        def read(source: History) -> list[Curve]:
            return [curve(source, name, view.axis, view.span, smoothing, most) for name in self.names]

        pair = read(history)
        others = [part for ghost in scene.ghosts for part in read(ghost.history)]
        past = [] if scene.past is None else [_beyond(part, scene.back_to) for part in read(scene.past)]
        past = past if any(len(part.smooth_x) for part in past) else []
        self._head.value = heading(self.title, self._labels, pair, scene.ghosts, others, bool(past))
        self.keys = self._names(past, others, pair, [ghost.label for ghost in scene.ghosts])
        colours = [*[PAST] * len(past), *(ghost.colour for ghost in scene.ghosts for _part in _GHOST)]
        opacities = [*_GHOST[: len(past)], *(ghost.opacity * part for ghost in scene.ghosts for part in _GHOST)]
        behind, bold = _lines(past + others, colours), _lines(pair, [TRAIN, VAL])
        wanted = view.log_y if self.log is None else self.log
        log = self.is_loss and wanted and any((part.y > LEAST).any() for part in pair)
        span, (bottom, top) = scene.span, self._range([*behind[len(past) :], *bold], log)
        self._draw_axes(span, (bottom, top), log)
        lines = [(line.x, line.y) for line in behind]
        lines += [(part.x, part.y) for part in pair] + [(line.x, line.y) for line in bold]
        if log:
            lines = [(x, np.where(y > LEAST, y, np.nan)) for x, y in lines]
        x, y = stack(lines, (span[0], bottom))
        if not log:
            self._choose_scale(log)
        with self.curves.hold_sync():
            self._dress(colours, opacities)
            self.curves.x, self.curves.y = x, y
        if log:  # only now: a log scale has no place for what was drawn before
            self._choose_scale(log)
        ticks = visible(scene.marks, scene.at, span, _LINES)
        arrows = off_scale([*behind, *bold], span, (bottom, top))
        at_bottom = bool(ticks) and self._is_top_busy()
        bands = outlines(scene.ghosts, others, span, (bottom, top), log)
        self.over = Overlay(ticks, scene.pin, scene.best, arrows, not self.is_small, at_bottom, bands)

    def _dress(self, behind: list[str], faint: list[float]) -> None:
        """Give each line its colour."""
        colours, opacities = [*behind, *_COLOURS], [*faint, *_OPACITIES]
        if (colours, opacities) != (self.curves.colors, self.curves.opacities):
            self.curves.colors, self.curves.opacities = colours, opacities

    def _range(self, lines: list[Line], log: bool) -> Span:
        values = [line.y for line in lines]
        if self.shows_all:
            wanted = extent(values, log)
        else:
            wanted = robust_extent(values, log)
        if self.zoom_y is None:
            self._shown = settled(None if log is not self._is_log else self._shown, wanted, log)
            return self._shown
        self._shown = None
        if not log:
            return self.zoom_y
        if self.zoom_y[1] > wanted[0]:  # zoomed on a linear axis perhaps, down to 0 or below
            return (self.zoom_y[0] if self.zoom_y[0] > LEAST else wanted[0], self.zoom_y[1])
        return wanted

    def _draw_axes(self, x: Span, y: Span, log: bool) -> None:
        scale = self._log if log else self._linear
        y_axis = self._y_axes[log]
        most = (4, 4) if self.is_small else (8, 6)
        ticks = linear_ticks(*x, most[0]), (log_ticks if log else linear_ticks)(*y, most[1])
        for on, (low, high), axis, values in zip((self._x, scale), (x, y), (self._x_axis, y_axis), ticks, strict=True):
            with on.hold_sync():
                on.min, on.max = low, high
            if axis.tick_values is None or not np.array_equal(axis.tick_values, values):
                axis.tick_format = tick_format(values)  # first: the browser writes new ticks in the format it has
                axis.tick_values = np.array(values)
        longest = max((len(written(y_axis.tick_format, value)) for value in ticks[1]), default=0)
        left = _MARGIN + _LETTER * max(0, longest - _LETTERS)
        if left != self.figure.fig_margin["left"]:
            self.figure.fig_margin = {**self.figure.fig_margin, "left": left}

    def _choose_scale(self, log: bool) -> None:
        scale = self._log if log else self._linear
        if self._scale is not scale:
            self._scale = scale
            self.curves.scales = {"x": self._x, "y": scale}
            self.figure.axes = [self._x_axis, self._y_axes[log]]

    def _is_top_busy(self) -> bool:
        """Whether the smoothed curves leave less room at the top than at the bottom; if in doubt, what it was."""
        y, ends = self.curves.y[-2:].astype(float), np.array([self._scale.min, self._scale.max])
        if self._is_log:
            y, ends = np.log(y), np.log(ends)
        y = (y - ends[0]) / (ends[1] - ends[0])
        more = np.mean(y > 0.55) - np.mean(y < 0.45)
        if abs(more) > 0.1:
            self._top_busy = bool(more > 0)
        return self._top_busy

    def _names(self, past: list[Curve], others: list[Curve], pair: list[Curve], ghosts: list[str]) -> list[str]:
        """Return what the read-out calls each line; nothing where there is none."""
        told = [f"{_('before the rewind')}, {label}" for label in self._labels] if past else []
        told += [name for label in ghosts for name in ("", label)]
        told += ["", "", *self._labels]
        drawn = [*past, *others, *pair, *pair]
        return [name if np.isfinite(part.smooth_y).any() else "" for name, part in zip(told, drawn, strict=True)]


def _upright(scale: Any) -> Any:
    return bqplot.Axis(scale=scale, side="left", **_GRID)


def _lines(curves: list[Curve], colours: list[str]) -> list[Line]:
    return [Line(colour, part.smooth_x, part.smooth_y) for part, colour in zip(curves, colours, strict=True)]


def _beyond(part: Curve, x: float) -> Curve:
    """Return what of a curve lies beyond ``x``."""
    late = part.smooth_x >= x
    return part._replace(smooth_x=part.smooth_x[late], smooth_y=part.smooth_y[late])
