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

    def __init__(self) -> None:
        self._levels: list[Column] = []  # each (4, blocks)
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
            # The highest level whose blocks are no larger than the stretches.
            level = sum(_FIRST * _FACTOR**above <= size for above in range(len(self._levels)))
            block = _FIRST * _FACTOR ** (level - 1) if level else 1
            ready = len(self._levels[level - 1]) * block if level else 0
            whole = (min(stop, ready) - start) // size * size if level else 0
            parts = []
            if whole > 0:
                blocks = self._levels[level - 1].view((start + whole) // block)[:, start // block :]
                parts.append(_group(blocks, size // block))
        rest = _leaf(values[start + max(0, whole) : stop])
        if rest.shape[1]:
            parts.append(_group(rest, size))
        low, high, total, count = np.concatenate(parts, axis=1) if parts else np.empty((4, 0))
        with np.errstate(invalid="ignore", divide="ignore"):
            return Buckets(low, high, total / count)

    def _extend(self, values: Array) -> None:
        below, length, factor = None, len(values), _FIRST
        for level in count():
            wanted = length // factor
            if not wanted:
                return
            if level == len(self._levels):
                self._levels.append(Column(np.float64, rows=4))
            blocks = self._levels[level]
            fresh = slice(len(blocks) * factor, wanted * factor)
            if fresh.start < fresh.stop:
                leaves = _leaf(values[fresh]) if below is None else below.view(fresh.stop)[:, fresh]
                blocks.extend(_group(leaves, factor))
            below, length, factor = blocks, wanted, _FACTOR


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
