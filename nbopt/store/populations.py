"""Storing a population: as a run is, with one journal of all that happened, and one file for all members' states."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from nbopt.record.journal import Entry
from nbopt.record.ledger import Ledger, unwrap
from nbopt.record.snapshots import Snapshot, Snapshots
from nbopt.store.database import SnapshotFile, Store
from nbopt.store.recorder import Recorder
from nbopt.store.records import FrozenHistories, RecordsSync
from nbopt.store.snapshot_files import SHARE, Files, SnapshotFiles, rows_of

BACK = "back"
_SHARE = 0.02  # of its time, the part that the writer's thread may take for the histories of one population
_LONGEST_SECONDS = 5.0


class States(Snapshots):
    """The states of all members together, at the beginning and now, and their histories as they were then.

    Parameters
    ----------
    first, latest : Snapshot
        As `nbopt.record.joint.join` returns them; ``entries`` of their facts is how many the ledger had.
    histories : FrozenHistories
        At the time of the latest.
    """

    def __init__(self, first: Snapshot, latest: Snapshot, histories: FrozenHistories) -> None:
        super().__init__()
        self.clear(first)
        self.add(latest)
        self.histories = histories


class PopulationFiles(SnapshotFiles):
    """The states of a population that are stored: all members at the beginning and as late as possible.

    Beside these there are the states that single members went back to since.
    """

    def save(self, store: Store, run: str, snapshots: Snapshots, entries: int, measured: int) -> Files:
        """Write the newest state, if there is one and time enough; return all files that are then to be."""
        latest, files = snapshots[-1], dict(self.files)
        if "initial" not in files:
            files["initial"] = _save(store, run, "initial", snapshots[0])
        stored = files.get("latest")
        if stored is None or (stored[0] is not latest and time.monotonic() >= self._next_at):
            began = time.monotonic()
            files["latest"] = _save(store, run, "latest", latest)
            now = time.monotonic()
            self._next_at = now + (now - began) / SHARE
        begin = files["latest"][1].entries
        return {kind: pair for kind, pair in files.items() if not kind.startswith(BACK) or pair[1].entries >= begin}


class PopulationRecorder(Recorder):
    """Stores a population, from its first entry in the ledger on.

    Attributes
    ----------
    find_back : callable
        ``find_back(member)`` returns the state that a member has just gone back to.
    """

    files_of = PopulationFiles
    sync_of = RecordsSync
    find_back: Callable[[int], Snapshot | None] = staticmethod(lambda member: None)

    def __init__(self, folder: Any, ledger: Ledger, *args: Any) -> None:
        super().__init__(folder, ledger, *args)
        ledger.store = self.record

    def update(self, now: bool = False) -> bool:
        """Bring the rows up to date; of many members, so seldom that it takes a small part of the time."""
        began = time.thread_time()
        news = super().update(now)
        self.due = time.monotonic() + min(_LONGEST_SECONDS, (time.thread_time() - began) / _SHARE)
        return news

    def _add_first(self, store: Store, snapshots: Snapshots, settings: Any) -> None:
        wanted = {"initial": snapshots[0], "latest": snapshots[-1]}
        first = {kind: _save(store, self._id, kind, snapshot, sync=False) for kind, snapshot in wanted.items()}
        self._store_states(store, snapshots, {**self._kept.files, **first}, settings)

    def _write_snapshots(self, store: Store) -> bool:
        """Store the newest state of all, and histories that end with it."""
        glance = self._look() or self._at_rest
        if glance is None or not glance.snapshots:
            return False
        files = self._kept.save(store, self._id, glance.snapshots, 0, 0)
        if rows_of(files) == self._kept.rows:
            return False
        if files["latest"][1] == self._kept.rows.get("latest"):
            store.update(self._id, self._progress, files=rows_of(files))
            self._kept.files = files
        else:
            self._store_states(store, glance.snapshots, files)
        return True

    def _store_states(self, store: Store, snapshots: Snapshots, files: Files, settings: Any = None) -> None:
        assert isinstance(snapshots, States)
        news = self._mirror.compare_with(snapshots.histories, files["latest"][1].entries)
        store.update(self._id, self._progress, news, rows_of(files), settings)
        self._mirror.note(news, self._history)
        self._kept.files = files

    def _prepare(self, store: Store, entry: Entry) -> None:
        """Store where a member went back to: it may be older than the state stored of all."""
        member, own = unwrap(entry)
        if member is None or own.name != "rewind" or (snapshot := self.find_back(member)) is None:
            return
        number = len(self.journal)
        file = store.save(self._id, BACK, snapshot, number, sync=False)
        with self._turn:
            self._kept.files = {**self._kept.files, f"{BACK}-{number}": (None, file)}
            store.update(self._id, self._progress, files=self._kept.rows)


def _save(store: Store, run: str, kind: str, snapshot: Snapshot, sync: bool = True) -> tuple[Snapshot, SnapshotFile]:
    return snapshot, store.save(run, kind, snapshot, snapshot.facts["entries"], sync)
