"""All lines of a chart as two arrays: in bqplot each mark redraws on each update, so that one mark draws them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nbopt.viz.ticks import Span

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]


def stack(lines: list[tuple[Floats, Floats]], corner: Span) -> tuple[Singles, Singles]:
    """Return all x and all y as one array each, short lines prolonged by their last point, which draws nothing.

    Not by NaN: a line that ends in NaN, or holds nothing else, is an error in the browser. float32 halves the message.
    """
    width = max(2, *(len(x) for x, _y in lines))  # bqplot takes a single column for one line
    stacked = np.empty((2, len(lines), width), np.float32)
    for row, (x, y) in enumerate(lines):
        known = np.flatnonzero(np.isfinite(y))
        end = known[-1] + 1 if len(known) else 0
        last = (x[end - 1], y[end - 1]) if end else corner
        for axis, values in enumerate((x, y)):
            stacked[axis, row, :end] = values[:end]
            stacked[axis, row, end:] = last[axis]
    return stacked[0], stacked[1]
