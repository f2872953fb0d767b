"""The history: every measurement of a run, as append-only columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbopt.names import unknown
from nbopt.record.pyramid import Buckets, Pyramid
from nbopt.words import _

Series = tuple[NDArray[np.int64], NDArray[np.float64]]


class Column:
    """Numbers in a growing buffer. One thread appends; readers see whole values only.

    A reader takes the length first: the buffer it then reads, old or regrown, holds at least that many values.
    """

    def __init__(self, dtype: type[np.generic]) -> None:
        self._buffer = np.empty(256, dtype)
        self._length = 0

    def extend(self, values: Sequence[float] | NDArray[Any]) -> None:
        """Append ``values``."""
        end = self._length + len(values)
        if end > len(self._buffer):
            grown = np.empty(max(end, 2 * len(self._buffer)), self._buffer.dtype)
            grown[: self._length] = self._buffer[: self._length]
            self._buffer = grown
        self._buffer[self._length : end] = values
        self._length = end

    def __len__(self) -> int:
        return self._length

    def view(self, length: int) -> NDArray[Any]:
        """Return the first ``length`` values; not to be written to."""
        part = self._buffer[:length]
        part.flags.writeable = False
        return part


class History(Mapping[str, Series]):
    """Measurements by name: ``history["val_loss"]`` is ``(steps, values)``.

    ``loss`` has one value per step, at the number of that step, counted from 0. What is measured at a validation
    stands at the number of steps completed by then.
    """

    def __init__(self) -> None:
        self._columns: dict[str, tuple[Column, Column]] = {}
        self._pyramids: dict[str, Pyramid] = {}

    def extend(self, name: str, steps: Sequence[int] | NDArray[np.int64], values: Sequence[float]) -> None:
        """Append measurements of ``name`` at ``steps``."""
        if name not in self._columns:
            self._columns[name] = (Column(np.int64), Column(np.float64))
        at, column = self._columns[name]
        at.extend(steps)
        column.extend(values)

    def append(self, name: str, step: int, value: float) -> None:
        """Append one measurement."""
        self.extend(name, [step], [value])

    @property
    def names(self) -> list[str]:
        """The names measured so far, without the run's own clock."""
        # A copy first: the thread that trains may add a name meanwhile.
        return [name for name in list(self._columns) if not name.startswith("_")]

    def last(self, name: str) -> float | None:
        """Return the newest value of ``name``; None before the first."""
        if name not in self._columns:
            return None
        values = self[name][1]
        return float(values[-1]) if len(values) else None

    def buckets(self, name: str, start: int, stop: int, size: int) -> Buckets:
        """Summarise the values number ``start`` to ``stop`` of ``name`` in stretches of ``size``, a power of two."""
        return self._pyramids.setdefault(name, Pyramid()).buckets(self[name][1], start, stop, size)

    def to_pandas(self) -> Any:
        """Return a ``pandas.DataFrame`` with one row per step and one column per name, gaps as NaN."""
        import pandas as pd

        series = {}
        for name in self.names:
            steps, values = self[name]
            series[name] = pd.Series(values, index=steps).groupby(level=0).last()
        return pd.DataFrame(series).rename_axis("step")

    def __getitem__(self, name: str) -> Series:
        if name not in self._columns:
            raise unknown(_("measurement"), name, self.names)
        at, column = self._columns[name]
        length = len(column)  # values are appended after their steps: this many of both are there
        return at.view(length), column.view(length)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return "History({})".format(", ".join(f"{name}: {len(self[name][1])}" for name in self.names))
