"""What of a growing history is stored already, and what is news: told without keeping a copy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbopt.record.column import Numbers, as_array
from nbopt.record.history import History, Track
from nbopt.store.database import Columns


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


class SyncState:
    """Remembers how much of a history is stored.

    Parameters
    ----------
    stored : History
        What is stored to begin with.
    """

    def __init__(self, stored: History) -> None:
        self._seen = stored.tracks  # the history last stored
        self._counts = {name: len(track.values) for name, track in stored.tracks.items()}  # how much of it

    def compare(self, history: History) -> HistoryDelta:
        """Look at the history while it grows."""
        tracks = history.tracks
        columns = {name: track.read() for name, track in list(tracks.items())}
        starts = {}
        for name in {*columns, *self._counts}:
            stored = self._counts.get(name, 0)
            same = stored
            if tracks is not self._seen and stored:
                same = _common(self._seen[name], columns[name], stored) if name in columns else 0
            if same < stored or name not in columns or len(columns[name][1]) > stored:
                starts[name] = same
        return HistoryDelta(tracks, columns, starts)

    def note(self, news: HistoryDelta) -> None:
        """Take note that what `compare` told is stored."""
        self._seen = news.tracks
        self._counts = {name: len(values) for name, (_steps, values) in news.columns.items()}


def _common(old: Track, new: tuple[Numbers, NDArray[np.float64]], stored: int) -> int:
    """Return how many of the ``stored`` measurements are still the same, bit for bit."""
    steps, values = old.steps.view(stored), old.values.view(stored)
    length = min(stored, len(new[1]))
    elsewhere = as_array(steps[:length]) != as_array(new[0][:length])
    differ = elsewhere | (values[:length].view(np.int64) != new[1][:length].view(np.int64))
    return int(differ.argmax()) if differ.any() else length
