"""What is drawn over a chart's curves by the page itself: changes, the best step, what lies off the scale.

No marks of bqplot, each of which redraws whenever its scales move: places are parts of the chart's width, and texts are
laid out where their width is known (`overlay.js`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from nbopt.formatting import brief
from nbopt.viz.marks import Tick
from nbopt.viz.ranges import Arrow
from nbopt.viz.ticks import Span


class Best(NamedTuple):
    """The best validation so far.

    Attributes
    ----------
    x : float
        Where it was.
    now : float
        How far none was better, once that means something.
    text : str
        What stands at its line.
    """

    x: float
    now: float
    text: str


class Overlay(NamedTuple):
    """What lies over one chart, in the unit of its x axis.

    Attributes
    ----------
    ticks : sequence of Tick
        The changes drawn.
    pin : float or None
        The point picked.
    best : Best or None
    arrows : list of Arrow
    tells : bool
        Whether there is room for texts.
    at_bottom : bool
        Whether they stand at the bottom, which the curves leave free.
    bands : sequence of (str, list of (x, y))
        Colour and corners of areas around means, see `nbopt.notebook.charts.bands`.
    """

    ticks: Sequence[Tick] = ()
    pin: float | None = None
    best: Best | None = None
    arrows: Sequence[Arrow] = ()
    tells: bool = True
    at_bottom: bool = False
    bands: Sequence[tuple[str, list[list[float]]]] = ()

    def as_sent(self, span: Span) -> dict[str, Any]:
        """Return it as JSON, places from 0 to 1."""

        def part(x: float) -> float:
            return round((x - span[0]) / (span[1] - span[0]), 5)

        sent: dict[str, Any] = {
            "marks": [[part(tick.x), tick.text] for tick in self.ticks],
            "pin": None if self.pin is None else part(self.pin),
            "best": None,
            "stale": None,
            "arrows": [[part(arrow.x), arrow.up, arrow.colour, brief(arrow.y)] for arrow in self.arrows],
            "tells": self.tells,
            "bottom": self.at_bottom,
            "bands": [list(band) for band in self.bands],
        }
        if self.best is not None:
            sent["best"] = [part(self.best.x), self.best.text]
            sent["stale"] = [max(0.0, part(self.best.x)), min(1.0, part(self.best.now))]
        return sent
