"""How far a chart's axes reach by themselves: neither a spike nor a run's first steps may flatten what follows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbopt.viz.ticks import LEAST, Span, extent

Array = NDArray[np.float64]

_FEW = 8  # points of a line, all of which are shown
_SPARE = 3.0  # how far beyond its quartiles a line is shown, in their distance
_RECENT = 0.05  # the part of a line that is where the run is now
_LOOSE = 0.8  # of a range that is kept: how much of it must be needed
_GRAIN = 64  # steps in which the x axis grows, in its length


class Line(NamedTuple):
    """A line as drawn."""

    colour: str
    x: Array
    y: Array


class Arrow(NamedTuple):
    """Where a line lies off the scale.

    Attributes
    ----------
    x, y : float
        Its farthest point beyond this edge.
    up : bool
        Whether that is the upper edge.
    colour : str
        The line's.
    """

    x: float
    y: float
    up: bool
    colour: str


def robust_extent(lines: Sequence[Array], log: bool = False) -> Span:
    """Return the range of y in which to show ``lines``, with a margin.

    Of each line, no more than three times the distance of its quartiles beyond them, and where it is now.

    Parameters
    ----------
    lines : sequence of ndarray
        The smoothed values of each line, in order.
    log : bool
        Whether the axis is logarithmic.
    """
    return extent([np.empty(0), *(_core(values, log) for values in lines)], log)


def _core(values: Array, log: bool) -> Array:
    """Return the ends of the range of one line; nothing if nothing of it can be drawn."""
    known = values[np.isfinite(values) & (values > LEAST)] if log else values[np.isfinite(values)]
    if len(known) < _FEW:
        return known
    known = np.log10(known) if log else known
    low, high = np.quantile(known, (0.25, 0.75))
    ends = np.array([known.min(), known.max()])
    if high > low:  # else most are alike: a range that they would not fill
        spare = _SPARE * (high - low)
        now = np.median(known[-max(3, int(_RECENT * len(known))) :])
        ends = np.array([max(ends[0], min(low - spare, now)), min(ends[1], max(high + spare, now))])
    return 10.0**ends if log else ends


def settled(shown: Span | None, wanted: Span, log: bool = False) -> Span:
    """Return the range shown if it still serves, so that an axis does not tremble; else the one wanted."""
    if shown is None or not (shown[0] <= wanted[0] and wanted[1] <= shown[1]) or (log and shown[0] <= 0):
        return wanted
    measure = math.log if log else float
    needed, length = (measure(high) - measure(low) for low, high in (wanted, shown))
    return shown if needed >= _LOOSE * length else wanted


def with_room(low: float, high: float) -> Span:
    """Return a range of x that ends at a round number: a chart that follows a run moves less often."""
    grain = 2.0 ** math.floor(math.log2(high - low)) / _GRAIN
    return low, max(high, math.ceil(high / grain) * grain)


def off_scale(lines: Sequence[Line], x: Span, y: Span) -> list[Arrow]:
    """Return an arrow for each line and each edge that it lies beyond, where it lies farthest off."""
    arrows = []
    for line in lines:
        inside = np.isfinite(line.y) & (line.x >= x[0]) & (line.x <= x[1])
        at, values = line.x[inside], line.y[inside]
        if not len(values):
            continue
        for up, place in ((True, int(values.argmax())), (False, int(values.argmin()))):
            value = float(values[place])
            if value > y[1] if up else value < y[0]:
                arrows.append(Arrow(float(at[place]), value, up, line.colour))
    return arrows
