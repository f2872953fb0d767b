"""A series summarised at growing block sizes, so that any part of any length is drawn at the cost of the screen."""

from __future__ import annotations

import threading
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_FACTOR = 8
_LARGEST = 1e30  # larger numbers break the drawing; nothing readable is lost


class Buckets(NamedTuple):
    """Summaries of equal stretches of a series, NaN where nothing in one can be drawn."""

    low: Array
    high: Array
    mean: Array


class Pyramid:
    """Lowest, highest, sum and count of blocks of 8, 64, 512, ... values of an append-only series.

    Built when asked, from what was appended since: whoever appends pays nothing.
    """

    def __init__(self) -> None:
        self._levels: list[Array] = []  # each (4, blocks)
        self._lock = threading.Lock()

    def buckets(self, values: Array, start: int, stop: int, size: int) -> Buckets:
        """Summarise ``values[start:stop]`` in stretches of ``size``.

        Parameters
        ----------
        values : ndarray, shape (n,)
            The whole series.
        start, stop : int
            ``start`` a multiple of ``size``.
        size : int
            A power of two.
        """
        with self._lock:
            self._extend(values)
            level = min(len(self._levels), (size.bit_length() - 1) // 3)
            block = _FACTOR**level
            ready = self._levels[level - 1].shape[1] * block if level else 0
            whole = (min(stop, ready) - start) // size * size if level else 0
            parts = []
            if whole > 0:
                parts.append(
                    _group(self._levels[level - 1][:, start // block : (start + whole) // block], size // block)
                )
        rest = _leaf(values[start + max(0, whole) : stop])
        if rest.shape[1]:
            parts.append(_group(rest, size))
        low, high, total, count = np.concatenate(parts, axis=1) if parts else np.empty((4, 0))
        with np.errstate(invalid="ignore", divide="ignore"):
            return Buckets(low, high, total / count)

    def _extend(self, values: Array) -> None:
        below, length, level = None, len(values), 0
        while (wanted := length // _FACTOR) > 0:
            if level == len(self._levels):
                self._levels.append(np.empty((4, 0)))
            have = self._levels[level].shape[1]
            if wanted > have:
                fresh = slice(have * _FACTOR, wanted * _FACTOR)
                leaves = _leaf(values[fresh]) if below is None else below[:, fresh]
                # Regrown whole: a level is an eighth of the one below, and this runs a few times a second.
                self._levels[level] = np.concatenate([self._levels[level], _group(leaves, _FACTOR)], axis=1)
            below, length, level = self._levels[level], wanted, level + 1


def _leaf(values: Array) -> Array:
    with np.errstate(invalid="ignore"):
        known = np.abs(values) <= _LARGEST
    shown = np.where(known, values, np.nan)
    return np.stack([shown, shown, np.where(known, values, 0.0), known.astype(float)])


def _group(leaves: Array, size: int) -> Array:
    """Join every ``size`` neighbours; the last group may be smaller."""
    if size == 1:
        return leaves
    edges = np.arange(0, leaves.shape[1], size)
    return np.stack(
        [
            np.fmin.reduceat(leaves[0], edges),
            np.fmax.reduceat(leaves[1], edges),
            np.add.reduceat(leaves[2], edges),
            np.add.reduceat(leaves[3], edges),
        ]
    )
