"""Curves cut to what a screen can show.

A series of any length becomes a few hundred buckets of equal size, a power of two, so that buckets stay put while a
run grows: only the last one changes, and the picture does not flicker.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbopt.record.column import as_array, pick
from nbopt.record.history import History

Array = NDArray[np.float64]

BUCKETS = 400
"""Points of a smoothed line, at most; at least half as many of a line that has more values."""

_FURTHEST = 2.0**62  # of the step numbers that can be looked up


class Curve(NamedTuple):
    """One measured quantity, as drawn.

    Attributes
    ----------
    name : str
    x, y : ndarray
        The raw line; where several values share a bucket, its lowest and highest.
    smooth_x, smooth_y : ndarray
        The smoothed line, one point per bucket.
    last : float
        The newest value, unsmoothed; NaN if there is none.
    """

    name: str
    x: Array
    y: Array
    smooth_x: Array
    smooth_y: Array
    last: float


def curve(
    history: History,
    name: str,
    axis: str = "step",
    span: tuple[float, float] | None = None,
    smoothing: float = 0.0,
    most: int = BUCKETS,
) -> Curve:
    """Cut the series ``name`` to its visible part and to screen resolution.

    Parameters
    ----------
    axis : {"step", "epoch", "time"}
        Unit of x: steps, epochs or seconds trained.
    span : (low, high), optional
        The visible range of x; all of it if None.
    smoothing : float
        Factor of the exponential moving average, in [0, 1).
    most : int
        Points of the smoothed line, at most.
    """
    track = history.tracks.get(name)
    if track is None or not len(track.values):
        empty = np.empty(0)
        return Curve(name, empty, empty, empty, empty, np.nan)
    steps, values = track.read()
    start, stop = 0, len(steps)
    if span is not None:
        low, high = from_axis(history, np.clip(np.array(span, float), -_FURTHEST, _FURTHEST), axis)
        start = max(0, bisect_left(steps, math.floor(low)) - 1)
        stop = min(stop, bisect_right(steps, math.ceil(high)) + 1)
    size = _power_of_two((stop - start) / most)
    start -= start % size  # so that panning does not regroup
    buckets = track.pyramid.buckets(values, start, stop, size)  # not of what a rewind has put in its place
    middle = np.minimum(start + size // 2 + size * np.arange(len(buckets.mean)), len(steps) - 1)
    at = pick(steps, middle)
    x = to_axis(history, at, axis)
    # The unit is a stretch of steps, the same for every curve: one measured once an epoch is not made to lag behind
    # one measured every step.
    unit = _power_of_two((int(steps[stop - 1]) - int(steps[start])) / BUCKETS)
    smooth = smoothed(buckets.mean, smoothing, np.diff(at, prepend=at[:1]) / unit)
    last = float(values[-1])
    if size == 1:
        return Curve(name, x, buckets.mean, x, smooth, last)
    raw = np.empty(2 * len(x))
    raw[0::2], raw[1::2] = buckets.low, buckets.high
    return Curve(name, np.repeat(x, 2), raw, x, smooth, last)


def whole_span(history: History, names: Iterable[str], axis: str = "step") -> tuple[float, float]:
    """Return the range of x that holds all of ``names``."""
    series = [history.tracks[name].read()[0] for name in names if name in history.tracks]
    ends = [steps[index] for steps in series if len(steps) for index in (0, -1)]
    x = to_axis(history, np.array(ends, float), axis)
    return (float(x.min()), float(x.max())) if len(x) and x.max() > x.min() else (0.0, 1.0)


def smoothed(values: Array, factor: float, distances: Array) -> Array:
    """Return the exponential moving average, corrected for its start (as Adam's means are); gaps are skipped.

    ``m_t = f m_{t-1} + (1 - f) y_t`` with ``f = factor ** distance``, over its own sum of weights.

    Parameters
    ----------
    values : ndarray, shape (n,)
    factor : float
        In [0, 1); 0 smooths nothing.
    distances : ndarray, shape (n,)
        From each point to the one before it, in units of the stretch that ``factor`` is meant for.
    """
    if not factor:
        return values
    result, mean, weight = [], 0.0, 0.0
    for value, keep in zip(values.tolist(), np.power(factor, np.maximum(distances, 1e-9)).tolist(), strict=True):
        if value == value:
            mean = keep * mean + (1 - keep) * value
            weight = keep * weight + (1 - keep)
        result.append(mean / weight if weight and value == value else np.nan)
    return np.array(result)


def to_axis(history: History, steps: NDArray[np.int64] | Array, axis: str) -> Array:
    """Turn step numbers into the unit of ``axis``."""
    at, clock = _clock(history, axis)
    return _interpolate(steps, at, clock) if len(at) else steps.astype(float)


def from_axis(history: History, x: Array, axis: str) -> Array:
    """Turn values in the unit of ``axis`` into step numbers."""
    at, clock = _clock(history, axis)
    return _interpolate(x, clock, at) if len(at) else x


def _clock(history: History, axis: str) -> tuple[NDArray[Any], Array]:
    """Return steps and what the run's own clock showed at them; nothing where x counts steps."""
    track = None if axis == "step" else history.tracks.get(f"_{axis}")
    if track is None:
        return np.empty(0), np.empty(0)
    at, clock = track.read()
    return as_array(at), clock


def _interpolate(x: NDArray[Any], known: NDArray[Any], values: NDArray[Any]) -> Array:
    """Do as `np.interp`, at the cost of ``x`` alone: ``known``, as long as the run, is searched and not converted."""
    whole = known.dtype.kind == "i"
    keys = np.floor(x).astype(known.dtype) if whole else x  # keys of another type would have all of it converted
    end = len(known) - 1
    right = np.searchsorted(known, keys, side="right").clip(min(1, end), end)
    left = np.maximum(right - 1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(x >= known[right], 1.0, (x - known[left]) / (known[right] - known[left])).clip(0.0, 1.0)
    between: Array = (1 - share) * values[left] + share * values[right]
    return between


def _power_of_two(least: float) -> int:
    return 1 << max(0, math.ceil(math.log2(least))) if least > 0 else 1
