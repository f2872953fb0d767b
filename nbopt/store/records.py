"""The histories of a population's members, stored together: a record for each time that there is news of any."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbopt.i18n import _
from nbopt.record.column import as_array
from nbopt.record.history import History
from nbopt.store.checked import spoilt
from nbopt.store.listing import has_records
from nbopt.store.packing import Stretch, pack, unpack
from nbopt.store.sync import Frozen, HistoryDelta, SyncState

Tracks = dict[str, list[tuple[NDArray[np.int64], NDArray[np.float64]]]]

_RECORD = 2**20  # values of a record, beyond which there is another one
_SPARE = 2**18  # values that may be stored and not be of use, beside as many as are


class Histories(list[History]):
    """The histories of a population's members.

    Attributes
    ----------
    copied : dict of int to int
        Members that are copies of others since this was last looked at, and of which.
    """

    def __init__(self, histories: Sequence[History] = ()) -> None:
        super().__init__(histories)
        self.copied: dict[int, int] = {}

    def freeze(self) -> FrozenHistories:
        """Take note of them as they are now."""
        return FrozenHistories([Frozen.of(history) for history in list(self)], dict(self.copied))


class FrozenHistories(NamedTuple):
    """Histories, and which of them are copies, as they were at one time."""

    each: list[Frozen]
    copied: dict[int, int]


class RecordsDelta:
    """What is news of histories.

    Attributes
    ----------
    deltas : list of HistoryDelta
    copied : dict of int to int
        As `Histories` has it.
    starts : bool
        Whether there is any.
    is_anew : bool
        Whether all is stored anew, in place of what is.
    syncs : list of SyncState
        What is known of the stored histories, to compare with.
    written, records : int
        Values and records that were written.
    """

    def __init__(
        self,
        deltas: list[HistoryDelta],
        copied: Mapping[int, int],
        number: int,
        is_anew: bool,
        syncs: list[SyncState],
        mark: int,
    ) -> None:
        self._mark = mark
        self.deltas, self.copied, self.syncs = deltas, copied, syncs
        self._number, self.is_anew = number, is_anew
        self.starts = bool(copied) or any(delta.starts for delta in deltas)
        self.written = self.records = 0

    def write(self, run: str, execute: Callable[..., Any]) -> None:
        """Add records of it; of all histories anew, where too much of what is stored is of no use any more."""
        if self.is_anew:
            execute("DELETE FROM records WHERE run = ?", (run,))
        self.written = self.records = 0
        waiting: list[Stretch] = []
        values = 0
        for stretch in self._stretches():
            waiting.append(stretch)
            values += len(stretch.values)
            if values >= _RECORD:
                self._add(run, waiting, execute)
                self.written, values = self.written + values, 0
        self.written += values
        if waiting or self._mark >= 0:
            self._add(run, waiting, execute, self._mark)

    def _add(self, run: str, waiting: list[Stretch], execute: Callable[..., Any], mark: int = -1) -> None:
        execute("INSERT INTO records VALUES (?, ?, ?)", (run, self._number + self.records, pack(waiting, mark)))
        self.records += 1
        waiting.clear()

    def _stretches(self) -> Iterator[Stretch]:
        for member, of in self.copied.items():  # each means what was stored before
            yield Stretch(member, "", 0, range(0), np.empty(0), of)
        for member, delta in enumerate(self.deltas):
            for name, start in delta.starts.items():
                steps, values = delta.columns.get(name, (range(0), np.empty(0)))
                at = start
                while True:  # a stretch at least: what is stored beyond is dropped
                    part = slice(at, at + _RECORD)
                    yield Stretch(member, name, at, steps[part], values[part])
                    at += _RECORD
                    if at >= len(values):
                        break


class RecordsSync:
    """Remembers how much of the histories is stored, as `SyncState` does of one.

    Parameters
    ----------
    stored : sequence of History
        What is stored to begin with.
    records : int
        In how many records.
    """

    def __init__(self, stored: Sequence[History] = (), records: int = 0) -> None:
        self._syncs = [SyncState(history) for history in stored]
        self._records = records
        self._written = sum(len(track.values) for history in stored for track in history.tracks.values())

    def compare(self, histories: Histories) -> RecordsDelta:
        """Look at the histories while they grow."""
        return self._compare_with(histories.freeze(), anew=not self._records)

    def compare_with(self, frozen: FrozenHistories, mark: int) -> RecordsDelta:
        """Look at the histories as they were at one time, which is told by a ``mark`` to whoever reads them.

        All of them are stored anew where too much of what is stored is of no use any more.
        """
        live = sum(len(values) for one in frozen.each for _steps, values in one.columns.values())
        return self._compare_with(frozen, not self._records or self._written > 2 * live + _SPARE, mark)

    def _compare_with(self, frozen: FrozenHistories, anew: bool, mark: int = -1) -> RecordsDelta:
        copied = {} if anew else frozen.copied
        syncs = [SyncState() for _history in frozen.each] if anew else [*self._syncs]
        for member, of in copied.items():
            syncs[member] = self._syncs[of].copy()
        deltas = [sync.compare_with(one) for sync, one in zip(syncs, frozen.each, strict=True)]
        return RecordsDelta(deltas, copied, 0 if anew else self._records, anew, syncs, mark)

    def note(self, news: RecordsDelta, histories: Histories) -> None:
        """Take note that what `compare` told is stored."""
        for sync, delta in zip(news.syncs, news.deltas, strict=True):
            sync.note(delta)
        for member, of in news.copied.items():
            if histories.copied.get(member) == of:
                del histories.copied[member]
        self._syncs = news.syncs
        if news.is_anew:
            self._records = self._written = 0
        self._records += news.records
        self._written += news.written


class StoredHistories(NamedTuple):
    """The histories of a population's members: as they are, and as they were at a mark, if there is one.

    Attributes
    ----------
    now : list of History
    marked : list of History or None
    records : int
        In how many records they stand.
    """

    now: list[History]
    marked: list[History] | None
    records: int


def read_histories(connection: sqlite3.Connection, run: str, size: int, mark: int) -> StoredHistories:
    """Return the stored histories of a population's members.

    Raises
    ------
    StoreError
        If they are not what was written.
    """
    found: list[Tracks] = [{} for _member in range(size)]
    marked: list[History] | None = None
    rows: list[tuple[int, bytes]] = []
    if has_records(connection):
        query = "SELECT number, data FROM records WHERE run = ? ORDER BY number"
        rows = connection.execute(query, (run,)).fetchall()
    try:
        for expected, (number, data) in enumerate(rows):
            if number != expected:
                raise ValueError(_("a record is missing"))
            noted, stretches = unpack(data)
            _apply(found, stretches)
            if noted == mark:
                marked = list(map(_joined, found))
        return StoredHistories(list(map(_joined, found)), marked, len(rows))
    except (ValueError, IndexError) as error:
        raise spoilt(run, _("its history ({error})", error=error)) from error


def _apply(found: list[Tracks], stretches: Sequence[Stretch]) -> None:
    before = [dict(tracks) for tracks in found]
    for one in stretches:
        if one.copied >= 0:
            found[one.member] = dict(before[one.copied])
        else:
            parts = _cut(found[one.member].get(one.name, []), one.start)
            found[one.member][one.name] = [*parts, (as_array(one.steps), one.values)]


def _cut(
    parts: list[tuple[NDArray[np.int64], NDArray[np.float64]]], length: int
) -> list[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Return the first ``length`` measurements."""
    there = sum(len(values) for _steps, values in parts)
    if length > there:
        raise ValueError(_("measurements are missing"))
    if length == there:
        return parts
    steps, values = (np.concatenate(arrays)[:length] for arrays in zip(*parts, strict=True))
    return [(steps, values)]


def _joined(tracks: Tracks) -> History:
    history = History()
    for name, parts in tracks.items():
        steps, values = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        if (np.diff(steps) < 0).any():
            raise ValueError(_("steps that go back"))
        if len(values):
            history.extend(name, steps, values)
    return history
