"""The band around the mean of several runs: the area between their lowest and their highest, as the page fills it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nbopt.notebook.charts.lines import Floats
from nbopt.notebook.charts.view import Ghost
from nbopt.viz.curves import Curve
from nbopt.viz.ticks import LEAST, Span

_POINTS = 120  # of an edge
_FARTHEST = 2.0  # chart heights beyond which an edge is not followed


def outlines(
    ghosts: Sequence[Ghost], curves: Sequence[Curve], x: Span, y: Span, log: bool
) -> list[tuple[str, list[list[float]]]]:
    """Return colour and corners of each band, in parts of the chart's width and, from the top, of its height.

    Parameters
    ----------
    ghosts : sequence of Ghost
        Those without a name are edges: a lower one, and behind it its upper one.
    curves : sequence of Curve
        Training and validation of each; the band is that of the validation, where there is one.
    x, y : (low, high)
        The ranges shown.
    log : bool
        Whether the y axis is logarithmic.
    """
    found = []
    edges = [k for k, ghost in enumerate(ghosts) if not ghost.label]
    for low, high in zip(edges[::2], edges[1::2], strict=True):
        which = 1 if len(curves[2 * low + 1].x) else 0
        lower, upper = _corners(curves[2 * low + which], x, y, log), _corners(curves[2 * high + which], x, y, log)
        if len(lower) and len(upper):
            found.append((ghosts[low].colour, [*lower.tolist(), *upper[::-1].tolist()]))
    return found


def _corners(edge: Curve, x: Span, y: Span, log: bool) -> Floats:
    """Return an edge's points as (n, 2) parts of width and height."""
    known = np.flatnonzero(np.isfinite(edge.smooth_y) & (edge.smooth_y > (LEAST if log else -np.inf)))
    if len(known) > _POINTS:
        known = known[np.linspace(0, len(known) - 1, _POINTS).astype(int)]
    across, values, ends = edge.smooth_x[known], edge.smooth_y[known], np.array(y, float)
    if log:
        values, ends = np.log(values), np.log(ends)
    up = (values - ends[0]) / (ends[1] - ends[0])
    parts = np.stack([(across - x[0]) / (x[1] - x[0]), 1 - np.clip(up, -_FARTHEST, _FARTHEST)], axis=1)
    return np.round(parts, 4)
