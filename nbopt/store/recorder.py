"""Keeping a run's rows in the store up to date: its journal at once, the rest when the writer's thread asks.

Nothing here runs in a step. Snapshots are never written to and columns only grow, so they are read while the run
trains. Whatever fails, the run goes on: its journal tells once, and the store is tried again.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, ClassVar

from nbopt.errors import tell_error
from nbopt.i18n import _
from nbopt.record.journal import Entry, Journal
from nbopt.record.snapshots import Snapshots
from nbopt.store import database, schema, writer
from nbopt.store.database import Progress, RunRecord, Store
from nbopt.store.snapshot_files import Files, Glance, SnapshotFiles, rows_of
from nbopt.store.sync import SyncState

_RETRY_SECONDS = 5.0


class Recorder:
    """Stores one run, from its first entry in the journal on.

    Parameters
    ----------
    folder : Path
        The store's.
    describe, look : callable
        Return the run's `RunRecord` and `Glance`; None once the run is gone.
    """

    files_of: ClassVar[type[SnapshotFiles]] = SnapshotFiles
    sync_of: ClassVar[type[Any]] = SyncState
    due = 0.0

    def __init__(
        self,
        folder: Path,
        journal: Journal,
        history: Any,
        describe: Callable[[], RunRecord | None],
        look: Callable[[], Glance | None],
    ) -> None:
        self.folder = folder
        self.journal = journal
        self._history = history
        self._describe = describe
        self._look = look
        self._at_rest: Glance | None = None  # a run may be dropped before the writer looks at it
        self._process = os.getpid()
        self._turn = threading.Lock()  # one thread at a time brings the rows up to date
        self._off = self._gone = self._warned = False
        self._retry_at = 0.0
        self._progress = Progress(0, 0, None, 0)
        self._forget()
        journal.sink = self.record

    def _forget(self) -> None:
        """Know of nothing that is stored."""
        self._store: Store | None = None
        self._id = ""
        self._failed = self._follows = False
        self._stored = 0  # entries of the journal that are stored for certain
        self._unsure = False  # whether more of them may be: an interrupt came in between
        self._waits = False  # whether entries are left to the writer, while another process holds the store
        self._mirror = self.sync_of()
        self._kept = self.files_of()

    # -- for the run

    def begin(self) -> None:
        """Store the run from now on, whatever its journal holds."""
        with self.journal.lock:
            warning = self._try_to(self._begin)
            if warning is not None:
                self.journal.event(self._progress.step, "store_failed", warning)

    def take_up(self, store: Store, run: str, sync: Any, files: Files) -> None:
        """Go on with a stored run, whose journal is loaded: store new entries, and all else from `follow` on.

        ``sync`` knows what of its history is stored, ``files`` are the stored snapshots by kind.
        """
        self._store, self._id = store, run
        self._mirror = sync
        self._kept = self.files_of(files)
        self._stored = len(self.journal)

    def follow(self) -> None:
        """Bring the rows up to date from now on."""
        self._follows = True
        writer.add(self)
        writer.wake()

    def close(self) -> None:
        """Write once more and then no longer: the run is gone, or another object goes on with it."""
        self._gone = True
        writer.wake()

    def release(self, warning: str) -> None:
        """Leave the run to another object; this one's journal tells with ``warning``."""
        self._off = True
        self.journal.event(self._progress.step, "store_failed", warning)

    # -- the journal, at once

    def record(self, *entries: Entry) -> str | None:
        """Store entries that the journal is about to show, all of them or none.

        Nobody waits for another process that holds the store: the journal tells that it is not stored, and the writer
        stores it later.
        """
        if self._waits:
            writer.wake()
            return None
        if self._off or self._failed or self._process != os.getpid():
            return None

        def write() -> None:
            self._begin()
            if self._store is None:
                return
            for entry in entries:
                self._prepare(self._store, entry)
            self._add_entries(self._store, [*entries])

        try:
            return self._try_to(write)
        finally:
            if any(map(database.state_after, entries)):
                self._at_rest = self._look()
            writer.wake()

    def _prepare(self, store: Store, entry: Entry) -> None:
        """Store what an entry needs to be there first."""
        if entry.name == "rewind" and self._follows:
            # So that there is a state to go on from: the newest one stored may be of the future given up.
            with self._turn:
                self._write_snapshots(store)

    def _begin(self) -> None:
        """Add the run and its journal so far; with the journal's lock held."""
        made = None
        if self._store is None:
            if (made := self._describe()) is None:
                return
            store = database.store_in(self.folder)
            store.begin(made)
            self._id = made.id
            self._add_entries(store, [])
            self._store = store
            self.follow()
        if "initial" in self._kept.files:
            return
        glance = self._look() or self._at_rest
        if glance is None or not glance.snapshots:
            return
        # Before the first step: without its initial weights, the journal alone could not bring a run back.
        made = made or self._describe()
        with self._turn:
            self._add_first(self._store, glance.snapshots, made.settings if made else None)

    def _add_first(self, store: Store, snapshots: Snapshots, settings: Any) -> None:
        first = snapshots[0]
        file = store.save(self._id, "initial", first, len(self.journal), sync=False)
        # The writer's thread may have been here already.
        self._kept.files = {**self._kept.files, "initial": (first, file)}
        store.update(self._id, self._progress, files=self._kept.rows, settings=settings)

    def _add_entries(self, store: Store, more: list[Entry]) -> None:
        """Have the stored journal end as this one does, with ``more`` behind."""
        first = min(self._stored, len(self.journal))
        self._unsure = True
        store.add_entries(self._id, first, [*self.journal[first:], *more])
        self._stored = len(self.journal) + len(more)
        self._unsure = False

    def _try_to(self, write: Callable[[], None]) -> str | None:
        """Write; return the warning for the journal, if that failed for the first time."""
        try:
            write()
        except Exception as error:  # whatever it is: a store must not stop a run
            if schema.is_busy(error) and self._store is not None:
                self._waits = True
                if self._warned:
                    return None
                self._warned = True
                rule = _("another process holds the store; what happens meanwhile is stored once it lets go")
                return _("not stored yet: {rule}.", rule=rule)
            self._failed = True
            self._retry_at = time.monotonic() + _RETRY_SECONDS
            writer.add(self)
            if not self._warned:
                self._warned = True
                told = tell_error(error).removeprefix(f"{type(error).__name__}: ")
                return _("the run is not stored in {folder}: {error}", folder=self.folder, error=told)
        return None

    # -- the rest, by the writer

    def update(self, now: bool = False) -> bool:
        """Bring the rows up to date; return whether there was news; ``now``, the latest snapshot, too."""
        if now:
            self._kept.hurry()
        if self._off or self._process != os.getpid():
            return False
        if self._failed:
            self._retry()
            return False
        if self._store is None or not self._follows:
            return False
        news = False

        def write() -> None:
            nonlocal news
            self._catch_up()
            with self._turn:
                if self._store is not None:
                    news = self._write_rows(self._store) | self._write_snapshots(self._store)

        if (warning := self._try_to(write)) is not None:
            self.journal.event(self._progress.step, "store_failed", warning)
        return news

    def _catch_up(self) -> None:
        """Store entries that were left to this, and forget those that the journal has not."""
        store = self._store
        if store is None or not (self._waits or self._unsure or self._stored != len(self.journal)):
            return
        # Without the journal's lock while another process holds the store: nobody else stores entries meanwhile.
        with nullcontext() if self._waits else self.journal.lock:
            first = min(self._stored, len(self.journal))
            entries = self.journal[first:]
            store.add_entries(self._id, first, entries)
        with self.journal.lock:
            self._stored, self._unsure = first + len(entries), False
            if self._stored != len(self.journal) or not self._waits:
                return
            self._waits = self._warned = False
        self.journal.event(self._progress.step, "stored")

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to write, ever."""
        return self._off or self._gone

    def leave(self) -> None:
        """Leave the run to whoever opens it next, and forget all."""
        if self._store is not None and not self._off and self._process == os.getpid():
            with suppress(Exception):
                self._store.let_go(self._id)
        self._off = True
        self._forget()

    def stop(self) -> None:
        """Write no more: the process ends."""
        self._off = True

    def _retry(self) -> None:
        if time.monotonic() < self._retry_at:
            return
        with self.journal.lock:  # so that no entry is missed
            self._forget()
            self._try_to(self._begin)

    def _write_rows(self, store: Store, files: Files | None = None) -> bool:
        """Store the history, how far the run is, and which snapshots it has; return whether there was news."""
        if not store.is_there:
            raise FileNotFoundError(_("its database was removed"))
        entries = len(self.journal)  # first: what is read below is at least as new
        glance = self._look() or self._at_rest
        history = self._mirror.compare(self._history)
        progress = self._progress._replace(entries=entries) if glance is None else Progress(*glance[:3], entries)
        news = bool(history.starts) or progress != self._progress or files is not None
        if news:
            rows = None if files is None else rows_of(files)
            store.update(self._id, progress, history, rows)
        self._mirror.note(history, self._history)
        self._progress = progress
        return news

    def _write_snapshots(self, store: Store) -> bool:
        """Store the snapshots that are to be kept; return whether there was a new one."""
        entries = len(self.journal)
        glance = self._look() or self._at_rest
        if glance is None or not glance.snapshots:
            return False
        files = self._kept.save(store, self._id, glance.snapshots, entries, self._history.measured)
        if rows_of(files) == self._kept.rows or any(entry.name == "rewind" for entry in self.journal[entries:]):
            return False
        self._write_rows(store, files)  # with the history up to there
        self._kept.files = files
        return True
