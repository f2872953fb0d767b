"""A series summarised at growing block sizes, so that any part of any length is drawn at the cost of the screen."""

from __future__ import annotations

import threading
from itertools import count
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbopt.record.column import Column

Array = NDArray[np.float64]

_FIRST = 64  # values in a block of the lowest level; smaller stretches are read off the series itself
_FACTOR = 8
_LARGEST = 1e30  # larger numbers break the drawing; nothing readable is lost


class Buckets(NamedTuple):
    """Summaries of equal stretches of a series, NaN where nothing in one can be drawn."""

    low: Array
    high: Array
    mean: Array


class Pyramid:
    """Lowest, highest, sum and count of blocks of 64, 512, 4096, ... values of an append-only series.

    Built when asked, from what was appended since: whoever appends pays nothing. It takes half a byte a value.
    """

    _lock = threading.Lock()  # one for all: each of them is built in no time

    def __init__(self) -> None:
        self._levels: tuple[Column, ...] = ()  # each (4, blocks)

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
            # The highest level whose blocks are no larger than the stretches.
            level = sum(_block(above) <= size for above in range(1, len(self._levels) + 1))
            whole = start + (stop - start) // size * size
            parts = [_group(self._blocks(values, start, whole, level), size // _block(level))]
            if whole < stop:
                parts.append(self._rest(values, whole, stop, level))
        low, high, total, count = np.concatenate(parts, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return Buckets(low, high, total / count)

    def _blocks(self, values: Array, start: int, stop: int, level: int) -> Array:
        """Return the blocks between two places where blocks of this level begin; those of level 0 are the values."""
        if not level:
            return _leaf(values[start:stop])
        return self._levels[level - 1].view(stop // _block(level))[:, start // _block(level) :]

    def _rest(self, values: Array, start: int, stop: int, level: int) -> Array:
        """Join what is less than a stretch, in the largest blocks there are."""
        parts = []
        for below in range(level, -1, -1):
            end = stop // _block(below) * _block(below)
            parts.append(self._blocks(values, start, end, below))
            start = end
        blocks = np.concatenate(parts, axis=1)
        return _group(blocks, blocks.shape[1])

    def _extend(self, values: Array) -> None:
        below, length, factor = None, len(values), _FIRST
        for level in count():
            wanted = length // factor
            if not wanted:
                return
            if level == len(self._levels):
                self._levels += (Column(np.float64, rows=4),)
            blocks = self._levels[level]
            fresh = slice(len(blocks) * factor, wanted * factor)
            if fresh.start < fresh.stop:
                leaves = _leaf(values[fresh]) if below is None else below.view(fresh.stop)[:, fresh]
                blocks.extend(_group(leaves, factor))
            below, length, factor = blocks, wanted, _FACTOR


def _block(level: int) -> int:
    """Return how many values a block holds."""
    return _FIRST * _FACTOR ** (level - 1) if level else 1


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
