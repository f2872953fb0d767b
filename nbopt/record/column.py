"""Append-only columns of numbers, which one thread appends to while others read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = range | NDArray[np.int64]
"""Step numbers in order; a range where they count up evenly, which takes no memory."""


class Column:
    """Numbers in a growing buffer. One thread appends; readers see whole values only.

    A reader takes the length first: the buffer it then reads, old or regrown, holds at least that many values.

    Parameters
    ----------
    dtype : type
    rows : int, optional
        Numbers that stand at each place, if there are several: the buffer is then of shape (rows, n).
    """

    def __init__(self, dtype: type[np.generic], rows: int | None = None) -> None:
        self._buffer = np.empty(256 if rows is None else (rows, 256), dtype)
        self._length = 0

    def extend(self, values: Sequence[float] | NDArray[Any]) -> None:
        """Append ``values``, (n,) or (rows, n)."""
        count = values.shape[-1] if isinstance(values, np.ndarray) else len(values)
        end = self._length + count
        if end > self._buffer.shape[-1]:
            grown = np.empty((*self._buffer.shape[:-1], max(end, 2 * self._buffer.shape[-1])), self._buffer.dtype)
            grown[..., : self._length] = self._buffer[..., : self._length]
            self._buffer = grown
        self._buffer[..., self._length : end] = values
        self._length = end

    def __len__(self) -> int:
        return self._length

    def view(self, length: int) -> NDArray[Any]:
        """Return the first ``length`` values; not to be written to."""
        part = self._buffer[..., :length]
        part.flags.writeable = False
        return part


class Steps:
    """Step numbers. Those of a measurement made every step, or every so many, are told by two numbers, all of them.

    For threads, the rule of `Column` holds.
    """

    def __init__(self) -> None:
        self._all: range | Column = range(0)

    def extend(self, steps: Sequence[int] | NDArray[np.int64]) -> None:
        """Append ``steps``."""
        before = self._all
        if isinstance(before, Column):
            before.extend(steps)
        elif len(steps):
            self._all = _prolonged(before, steps) or _as_column(before, steps)

    def view(self, length: int) -> Numbers:
        """Return the first ``length`` of them; not to be written to."""
        now = self._all
        return now[:length] if isinstance(now, range) else now.view(length)


def as_array(steps: Numbers) -> NDArray[np.int64]:
    """Return step numbers as an array that is not to be written to."""
    if not isinstance(steps, range):
        return steps
    array = np.arange(steps.start, steps.stop, steps.step, dtype=np.int64)
    array.flags.writeable = False
    return array


def pick(steps: Numbers, at: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the step numbers at these places, 0 and up."""
    return steps.start + steps.step * at if isinstance(steps, range) else steps[at]


def _prolonged(before: range, more: Sequence[int] | NDArray[np.int64]) -> range | None:
    """Return both in one, where they count up evenly."""
    first, last, count = int(before[0] if before else more[0]), int(more[-1]), len(before) + len(more)
    stride, rest = divmod(last - first, count - 1) if count > 1 else (1, 0)
    if rest or stride < 1 or (len(before) > 1 and stride != before.step):
        return None
    whole = range(first, last + 1, stride)
    if len(more) == 1:  # most additions: the last one is all there is to compare
        return whole
    part = whole[len(before) :]
    same = part == more if isinstance(more, range) else np.array_equal(as_array(part), more)
    return whole if same else None


def _as_column(before: range, more: Sequence[int] | NDArray[np.int64]) -> Column:
    column = Column(np.int64)
    column.extend(as_array(before))
    column.extend(more)
    return column
