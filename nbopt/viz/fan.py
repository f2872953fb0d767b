"""The curves of many runs as one table of numbers, kept up as they grow: a frame costs what is new, and no more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbopt.record.column import as_array
from nbopt.record.history import History

Array = NDArray[np.float64]

_NUMBERS = 2**16  # of all curves together: what is drawn of a fan in one frame
_LEAST, _MOST = 32, 512  # stretches of a curve


class Fan:
    """One measurement of many runs: its means over stretches of equal length, which double as the runs grow.

    Parameters
    ----------
    count : int
        How many runs there are.
    name : str
        What was measured.

    Attributes
    ----------
    name : str
    last : ndarray, shape (count,)
        The newest value of each; NaN before the first.
    """

    def __init__(self, count: int, name: str) -> None:
        self.name = name
        self.last = np.full(count, np.nan)
        room = max(_LEAST, min(_MOST, _NUMBERS // max(1, count)))
        size = 2 ** int(np.log2(room))
        self._sums = np.zeros((count, size))
        self._counts = np.zeros((count, size), np.int64)
        self._at = np.zeros(size, np.int64)  # the last step of each stretch
        self._shift = 0  # a stretch is 2 ** shift steps
        self._tracks: list[Mapping[str, Any] | None] = [None] * count
        self._read = [0] * count

    def take(self, histories: Sequence[History]) -> None:
        """Take up what was measured since the last time; a history that is another one now is read anew."""
        rows, steps, values = [], [], []
        for row, history in enumerate(histories):
            tracks = history.tracks
            if tracks is not self._tracks[row]:
                self.forget(row)
                self._tracks[row] = tracks
            track = tracks.get(self.name)
            if track is None or len(track.values) == self._read[row]:
                continue
            at, read = track.read()
            start, self._read[row] = self._read[row], len(read)
            rows.append(row)
            steps.append(as_array(at[start:]))
            values.append(read[start:])
            self.last[row] = read[-1]
        if rows:
            lengths = [len(part) for part in values]
            self.add(np.repeat(rows, lengths), np.concatenate(steps), np.concatenate(values))

    def curves(self, rows: NDArray[np.int64] | None = None) -> tuple[Array, Array]:
        """Return where stretches end, shape (n,), and what was measured there, shape (rows, n); NaN where nothing was.

        Parameters
        ----------
        rows : ndarray, optional
            Which runs; all by default.
        """
        used = self._counts.any(axis=0)
        counts = self._counts[:, used] if rows is None else self._counts[np.ix_(rows, used)]
        sums = self._sums[:, used] if rows is None else self._sums[np.ix_(rows, used)]
        with np.errstate(invalid="ignore"):
            return self._at[used].astype(float), np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)

    def forget(self, row: int) -> None:
        """Know nothing of a run any more."""
        self._sums[row], self._counts[row], self._read[row], self.last[row] = 0, 0, 0, np.nan

    def add(self, rows: NDArray[np.int64], steps: NDArray[np.int64], values: Array) -> None:
        """Take up values, of these runs at these steps, none of which is negative."""
        size = self._sums.shape[1]
        while int(steps.max()) >> self._shift >= size:
            self._fold()
        known = np.isfinite(values)
        rows, steps, values = rows[known], steps[known], values[known]
        cells = steps >> self._shift
        np.add.at(self._sums, (rows, cells), values)
        np.add.at(self._counts, (rows, cells), 1)
        np.maximum.at(self._at, cells, steps)

    def _fold(self) -> None:
        """Make one stretch of two."""
        self._shift += 1
        for table in (self._sums, self._counts):
            half = table[:, 0::2] + table[:, 1::2]
            table[:, : half.shape[1]], table[:, half.shape[1] :] = half, 0
        ends = np.maximum(self._at[0::2], self._at[1::2])
        self._at[: len(ends)], self._at[len(ends) :] = ends, 0


def spread_out(places: Array, most: int) -> NDArray[np.int64]:
    """Return at most ``most`` numbers of runs, evenly along where they lie: those whose curves stand for all."""
    order = np.argsort(places, kind="stable")
    if len(order) <= most:
        return order
    return order[np.linspace(0, len(order) - 1, most).round().astype(np.int64)]
