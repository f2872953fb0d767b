"""The learning-rate finder's chart: the loss at each rate tried; a click sets the run's rate."""

from __future__ import annotations

import html
from typing import Any

import bqplot
import ipywidgets as widgets
import numpy as np

from nbopt.errors import InvalidHyperparam, shorten
from nbopt.formatting import brief, number
from nbopt.i18n import _
from nbopt.notebook.charts.colours import MARK, PIN, TRAIN
from nbopt.notebook.closing import close_all
from nbopt.notebook.frontend.bridge import Bridge
from nbopt.run.lr_finder import Sweep
from nbopt.viz.ticks import extent, linear_ticks, log_ticks, tick_format

_SOURCE = "finder"
_RATES = ".2~e"  # of numbers that are decades apart, as d3 has it


class FinderChart:
    """A sweep in a notebook. Its bridge paints where the run's rate stands now, and what is asked for.

    Attributes
    ----------
    sweep : Sweep
    widget : ipywidgets.Widget
        The root, of CSS class ``nbopt-finder``.
    rates : bqplot.Lines
        Upright lines at the suggestion and at the run's present rate.
    """

    def __init__(self, sweep: Sweep) -> None:
        self.sweep, self._run = sweep, sweep.run
        self._problem = ""
        span = float(sweep.rates[0]), float(sweep.rates[-1])
        heights = extent([sweep.smoothed, np.minimum(sweep.losses, sweep.smoothed.max())])
        x, y = bqplot.LogScale(min=span[0], max=span[1]), bqplot.LinearScale(min=heights[0], max=heights[1])
        curves = bqplot.Lines(
            x=np.array([sweep.rates] * 2, np.float32),
            y=np.minimum(np.array([sweep.losses, sweep.smoothed], np.float32), heights[1]),
            scales={"x": x, "y": y},
            colors=[TRAIN],
            opacities=[0.28, 1.0],
            stroke_width=1.8,
        )
        self.rates = bqplot.Lines(
            x=np.ones((2, 2)),
            y=np.zeros((2, 2)),
            scales={"x": x, "y": bqplot.LinearScale(min=0.0, max=1.0)},
            colors=[MARK, PIN],
            stroke_width=1.5,
        )
        ticks = log_ticks(*span, 8), linear_ticks(*heights, 6)
        formats = _RATES, tick_format(ticks[1])
        axes = [
            bqplot.Axis(scale=scale, orientation=way, tick_values=np.array(values), tick_format=form)
            for scale, way, values, form in zip((x, y), ("horizontal", "vertical"), ticks, formats, strict=True)
        ]
        axes[0].grid_lines = "none"
        figure = bqplot.Figure(
            marks=[self.rates, curves],
            axes=axes,
            fig_margin={"top": 10, "bottom": 28, "left": 52, "right": 16},
            animation_duration=0,
            background_style={"fill": "transparent"},
            display_toolbar=False,
            layout=widgets.Layout(width="100%", height="260px", min_width="0"),
        )
        figure.add_class("nbopt-figure")
        self._head, self._note = widgets.HTML(), widgets.HTML()
        self._head.add_class("nbopt-chart-head")
        self.bridge = Bridge(self._run, self._paint, self._complain, lambda: None, self._hear)
        companion = self.bridge.companion
        companion.charts = [
            {"lines": curves.model_id, "names": ["", _("loss")], "label": _("loss against learning rate")}
        ]
        companion.unit, companion.whole = _("learning rate"), False
        self.widget = widgets.VBox([self._head, figure, self._note, companion])
        self.widget.add_class("nbopt-finder")
        self.bridge.start()

    def close(self) -> None:
        """Take the chart away for good: nothing keeps it any more, nor its run."""
        self.bridge.close()
        close_all(self.widget)

    def _hear(self, content: Any) -> None:
        match content:
            case {"pick": int(rate) | float(rate)} if rate == rate:
                try:
                    self._run.set(source=_SOURCE, lr=float(f"{rate:.2g}"))
                    self._problem = ""
                except InvalidHyperparam as error:
                    self._problem = str(error)
            case {"pick": None} | {"zoom": _}:
                pass  # a chart of a sweep stays as it is
            case _:
                self._problem = _("The chart does not understand {message}.", message=shorten(content))
        self.bridge.wake()

    def _paint(self) -> None:
        suggestion, rate = self.sweep.suggestion, float(self._run.hyperparams["lr"])
        low, high = float(self.sweep.rates[0]), float(self.sweep.rates[-1])
        places = [at if at is not None and low <= at <= high else None for at in (suggestion, rate)]
        with self.rates.hold_sync():
            self.rates.x = np.array([[at or low] * 2 for at in places])
            self.rates.y = np.array([[0.0, float(at is not None)] for at in places])  # no length: not to be seen
        told = _("nothing falls") if suggestion is None else brief(suggestion)
        keys = (TRAIN, _("loss"), ""), (MARK, _("suggested"), told), (PIN, _("set in the run"), number(rate))
        self._head.value = f'<span class="nbopt-title">{html.escape(_("Learning rates tried"))}</span>' + "".join(
            f'<span class="nbopt-key" style="--nbopt-colour:{colour}">{html.escape(label)} <b>{value}</b></span>'
            for colour, label, value in keys
        )
        text = self._problem or _("Click on the chart to set the learning rate of {name}.", name=self._run.name)
        self._note.value = f'<span class="nbopt-{"problem" if self._problem else "name"}">{html.escape(text)}</span>'

    def _complain(self, text: str) -> None:
        self._note.value = f"<pre>{html.escape(text)}</pre>"
