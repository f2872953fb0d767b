"""Which snapshots of a run are files in the store: its first, its best and its latest."""

from __future__ import annotations

import time
from typing import NamedTuple

from nbopt.record.snapshots import Snapshot, Snapshots
from nbopt.store.database import SnapshotFile, Store

SHARE = 0.1  # of its time, the part that a run's latest snapshot may take to write

Files = dict[str, tuple[Snapshot | None, SnapshotFile]]


class Glance(NamedTuple):
    """What the writer reads of a run, beside journal and history."""

    step: int
    epoch: int
    best: float | None
    snapshots: Snapshots | None


class SnapshotFiles:
    """The snapshots of one run that are stored.

    Attributes
    ----------
    files : dict of str to (Snapshot or None, SnapshotFile)
        By kind: ``initial``, ``best`` and ``latest``. None stands for a snapshot that was not loaded.
    """

    def __init__(self, files: Files | None = None) -> None:
        self.files: Files = files or {}
        self._next_at = 0.0

    @property
    def rows(self) -> dict[str, SnapshotFile]:
        """The files by kind, as the database holds them."""
        return rows_of(self.files)

    def hurry(self) -> None:
        """Have the latest one written the next time, whatever that takes."""
        self._next_at = 0.0

    def save(self, store: Store, run: str, snapshots: Snapshots, entries: int, measured: int) -> Files:
        """Write the files of the snapshots that are to be kept and are not stored; return all that are then to be.

        Parameters
        ----------
        store : Store
        run : str
            The run's id.
        snapshots : Snapshots
        entries : int
            Entries of the journal that a snapshot may build on.
        measured : int
            Steps whose losses are known: a snapshot may be some moments ahead of them.
        """
        wanted = {"initial": snapshots[0], "best": snapshots.best, "latest": snapshots[-1]}
        files: Files = {}
        for kind, snapshot in wanted.items():
            if snapshot is None:
                continue
            known = [pair for pair in [*self.files.values(), *files.values()] if pair[0] is snapshot]
            stored = self.files.get(kind)
            early = kind == "latest" and time.monotonic() < self._next_at
            if known:
                files[kind] = known[0]
            elif stored and (snapshot.step > measured or (early and stored[1].step <= snapshot.step)):
                files[kind] = stored
            elif snapshot.step <= measured:
                began = time.monotonic()
                files[kind] = snapshot, store.save(run, kind, snapshot, entries)
                now = time.monotonic()
                self._next_at = now + (now - began) / SHARE
        return files


def rows_of(files: Files) -> dict[str, SnapshotFile]:
    """Return files by kind, without the snapshots they hold."""
    return {kind: file for kind, (_snapshot, file) in files.items()}
