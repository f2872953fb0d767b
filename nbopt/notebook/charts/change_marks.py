"""The marks of changes on a chart: a line at each, the newest with their texts, and the point picked on the x axis."""

from __future__ import annotations

from typing import Any

import bqplot
import numpy as np

from nbopt.notebook.charts.colours import MARK, PIN
from nbopt.viz.marks import Tick
from nbopt.viz.ticks import Span


class ChangeMarks:
    """What a chart draws of the changes.

    Parameters
    ----------
    x : bqplot.LinearScale
        The chart's.

    Attributes
    ----------
    lines : bqplot.Lines
    labels : dict of str to bqplot.Label
        The texts beside their line: to its right, or to its left where the chart ends.
    ticks : list of Tick
        The marks drawn.
    pin : float or None
        Where the picked point is drawn.
    """

    def __init__(self, x: bqplot.LinearScale) -> None:
        self.ticks: list[Tick] = []
        self.pin: float | None = None
        self._unit = bqplot.LinearScale(min=0.0, max=1.0)
        self.lines = bqplot.Lines(
            x=np.zeros((1, 2)),
            y=np.zeros((1, 2)),
            scales={"x": x, "y": self._unit},
            colors=[MARK],
            line_style="dashed",
            stroke_width=1,
        )
        self.labels = {align: self._label(align, x) for align in ("start", "end")}

    def draw(self, ticks: list[Tick], span: Span, pin: float | None, at_bottom: bool, texts: int) -> None:
        """Bring them up to date.

        Parameters
        ----------
        ticks : list of Tick
        span : (low, high)
            The range of x shown.
        pin : float or None
            Where the point picked on the x axis stands.
        at_bottom : bool
            Whether the texts stand at the bottom of the chart, which the curves leave free.
        texts : int
            How many marks bear their text, the newest.
        """
        if (ticks, pin) != (self.ticks, self.pin):
            self.ticks, self.pin = ticks, pin
            at = [tick.x for tick in ticks] + ([] if pin is None else [pin])
            with self.lines.hold_sync():
                self.lines.colors = [MARK] * len(ticks) + [PIN]
                # None: a line of no length, for bqplot cannot draw an empty set of lines.
                self.lines.x = np.array([[x, x] for x in at] or [[0.0, 0.0]])
                self.lines.y = np.tile([0.0, float(bool(at))], (max(1, len(at)), 1))
        self._write(ticks[max(0, len(ticks) - texts) :], span, at_bottom)

    def _write(self, shown: list[Tick], span: Span, at_bottom: bool) -> None:
        """Write the newest changes beside their marks, in rows."""
        first, distance = (0.04, 0.07) if at_bottom else (0.94, -0.07)
        places = [
            (x, first + distance * row, "… " * ("\n" in text) + text.split("\n")[-1])
            for row, (x, text) in enumerate(shown)
        ]
        turn = span[0] + 0.7 * (span[1] - span[0])
        for align, label in self.labels.items():
            part = [place for place in places if (place[0] > turn) == (align == "end")]
            x, y, text = zip(*part, strict=True) if part else ((), (), ())
            if tuple(label.text) != text or not np.array_equal(label.x, x) or not np.array_equal(label.y, y):
                with label.hold_sync():
                    label.x, label.y = np.array(x, float), np.array(y, float)
                    label.text = np.array(text, str)

    def _label(self, align: str, x: bqplot.LinearScale) -> Any:
        return bqplot.Label(
            x=np.empty(0),
            y=np.empty(0),
            text=np.empty(0, str),
            scales={"x": x, "y": self._unit},
            colors=[MARK],
            default_size=11,
            font_weight="normal",
            align=align,
            x_offset=4 if align == "start" else -4,
        )
