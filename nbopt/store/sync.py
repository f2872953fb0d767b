"""What of a growing history is stored already, and what is news: told without keeping a copy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbopt.record.column import Numbers, as_array
from nbopt.record.history import History, Track

Columns = Mapping[str, tuple[Numbers, NDArray[np.float64]]]

CHUNK = 2048  # measurements in one row


class HistoryDelta(NamedTuple):
    """A history as it is now, and how it differs from what is stored.

    Attributes
    ----------
    tracks : mapping of str to Track
    columns : mapping of str to (steps, values)
        All of it.
    starts : dict of str to int
        For each column that is not stored as it is now, how much of it is.
    """

    tracks: Mapping[str, Track]
    columns: Columns
    starts: dict[str, int]

    def write(self, run: str, execute: Callable[..., Any]) -> None:
        """Write what is not stored as it is now, and drop what is stored beyond."""
        for name, start in self.starts.items():
            execute("DELETE FROM history WHERE run = ? AND name = ? AND chunk >= ?", (run, name, start // CHUNK))
            if name in self.columns:
                steps, values = self.columns[name]
                for at in range(start // CHUNK * CHUNK, len(values), CHUNK):
                    part = slice(at, at + CHUNK)
                    blobs = (as_array(steps[part]).astype("<i8").tobytes(), values[part].astype("<f8").tobytes())
                    execute("INSERT INTO history VALUES (?, ?, ?, ?, ?)", (run, name, at // CHUNK, *blobs))


class Frozen(NamedTuple):
    """A history as it was at one time, at no cost: what is appended later does not belong to it."""

    tracks: Mapping[str, Track]
    columns: Columns

    @classmethod
    def of(cls, history: History) -> Frozen:
        """Take note of a history as it is now."""
        tracks = history.tracks
        return cls(tracks, {name: track.read() for name, track in list(tracks.items())})


class SyncState:
    """Remembers how much of a history is stored.

    Parameters
    ----------
    stored : History, optional
        What is stored to begin with.
    """

    def __init__(self, stored: History | None = None) -> None:
        stored = stored or History()
        self._seen = stored.tracks  # the history last stored
        self._counts = {name: len(track.values) for name, track in stored.tracks.items()}  # how much of it

    def compare(self, history: History) -> HistoryDelta:
        """Look at the history while it grows."""
        return self.compare_with(Frozen.of(history))

    def compare_with(self, frozen: Frozen) -> HistoryDelta:
        """Look at the history as it was at one time."""
        tracks, columns = frozen
        starts = {}
        for name in {*columns, *self._counts}:
            stored = self._counts.get(name, 0)
            same = stored
            if tracks is not self._seen and stored:
                same = _common(self._seen[name], columns[name], stored) if name in columns else 0
            if same < stored or name not in columns or len(columns[name][1]) > stored:
                starts[name] = same
        return HistoryDelta(tracks, columns, starts)

    def copy(self) -> SyncState:
        """Return another that remembers the same."""
        other = SyncState()
        other._seen, other._counts = self._seen, dict(self._counts)
        return other

    def note(self, news: HistoryDelta, history: History | None = None) -> None:
        """Take note that what `compare` told of a history is stored."""
        self._seen = news.tracks
        self._counts = {name: len(values) for name, (_steps, values) in news.columns.items()}


def _common(old: Track, new: tuple[Numbers, NDArray[np.float64]], stored: int) -> int:
    """Return how many of the ``stored`` measurements are still the same, bit for bit."""
    steps, values = old.steps.view(stored), old.values.view(stored)
    length = min(stored, len(new[1]))
    elsewhere = as_array(steps[:length]) != as_array(new[0][:length])
    differ = elsewhere | (values[:length].view(np.int64) != new[1][:length].view(np.int64))
    return int(differ.argmax()) if differ.any() else length
