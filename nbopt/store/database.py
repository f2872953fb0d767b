"""The store: a folder in which runs outlive their process.

``nbopt.sqlite`` holds what runs were made with, their journals and histories; ``snapshots/RUN/`` the states to go on
from, as safetensors. The journal is the truth here too: what a rewind undid is left out by reading the journal, so a
rewind writes its one entry and nothing else.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import sys
import threading
import weakref
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from nbopt.errors import shorten
from nbopt.i18n import _
from nbopt.record.journal import Entry
from nbopt.record.snapshots import Snapshot
from nbopt.store import checked, lease, schema, tensors

_BUSY_MILLISECONDS = 400  # how long a change waits for another process that is writing
AUTO = "auto"

Place = str | os.PathLike[str]


class Delta(Protocol):
    """What is news of a history, see `nbopt.store.sync.HistoryDelta`."""

    def write(self, run: str, execute: Callable[..., Any]) -> None:
        """Bring the rows of a run up to date, in a transaction."""


def folder_of(place: Place = AUTO) -> Path:
    """Return the folder of a store: the one given, else ``NBOPT_HOME``, else ``.nbopt`` where the process works.

    Raises
    ------
    TypeError
        If ``place`` is no text and no path.
    """
    if not isinstance(place, (str, os.PathLike)):
        raise TypeError(_("store must be a folder, as text or path, or None; got {value}.", value=shorten(place)))
    if place == AUTO:
        place = os.environ.get("NBOPT_HOME") or ".nbopt"
    return Path(place).expanduser().absolute()


_STATES = {"start": "running", "step": "running", "resume": "running", "pause": "paused", "rewind": "paused"}
_STATES |= {"branch": "paused", "stopped": "stopped", "finished": "finished", "failed": "failed"}


def state_after(entry: Entry) -> tuple[str, str] | None:
    """Return a run's state and the reason for it, as an entry of its journal leaves them; None if as they were."""
    if entry.name == "open":  # tells it; one that is complete stays as it was
        return ("paused", "") if entry.new == "paused" else None
    if entry.kind == "change" or entry.name not in _STATES or (entry.name == "rewind" and entry.source == "guard"):
        return None
    return _STATES[entry.name], entry.new if isinstance(entry.new, str) and entry.name != "branch" else ""


class SnapshotFile(NamedTuple):
    """Where a snapshot is, relative to the store, and how many journal entries there were when it was looked at."""

    step: int
    entries: int
    file: str
    bytes: int


class RunRecord(NamedTuple):
    """What a run is: its name, the run it comes from, when and what it was made with (as JSON can hold it)."""

    id: str
    name: str
    parent: str | None
    created: float
    settings: dict[str, Any]


class Progress(NamedTuple):
    """How far a run is; ``entries`` as in `SnapshotFile`, for the history."""

    step: int
    epoch: int
    best: float | None
    entries: int


class Store:
    """One folder, as this process writes to it. Every method is one transaction, and may be called by any thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = threading.RLock()
        self._connection = schema.connect(folder)
        self._connection.execute(f"PRAGMA busy_timeout = {_BUSY_MILLISECONDS}")  # somebody may wait for it
        self._token = lease.hold(folder)
        self.close = weakref.finalize(self, _close, folder, self._connection, self._token, self.lock)
        self.close.atexit = False  # the writer closes it, after its last words

    @property
    def is_there(self) -> bool:
        """Whether the database is still where it was; sqlite would go on writing to a deleted one."""
        return (self.folder / schema.FILE).exists()

    def begin(self, made: RunRecord) -> None:
        """Add a run, without its journal, or take one up again."""
        run, name, parent, created, settings = made
        version = getattr(sys.modules.get("nbopt"), "__version__", "")
        row = (run, name, parent, created, version, _to_json(settings), self._token)
        with self.lock, schema.transaction(self._connection) as execute:
            execute(
                """INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, 'created', '', 0, 0, NULL, 0)
                ON CONFLICT (id) DO UPDATE SET settings = excluded.settings, owner = excluded.owner""",
                row,
            )

    def claim(self, run: str, previous: str | None) -> bool:
        """Make this process a run's owner, unless another was faster; return whether it is."""
        # What was this process's own, its writer may have let go of meanwhile, and nothing is written after that.
        owners = (previous, None if lease.was_own(previous) else previous)
        with self.lock, schema.transaction(self._connection) as execute:
            statement = "UPDATE runs SET owner = ? WHERE id = ? AND (owner IS ? OR owner IS ?)"
            return bool(execute(statement, (self._token, run, *owners)).rowcount == 1)

    def add_entries(self, run: str, first: int, entries: Sequence[Entry]) -> None:
        """Have a run's journal end with these entries, numbered from ``first``; they outlive the process on return."""
        rows = [
            (run, first + k, e.step, e.name, _to_json(e.old), _to_json(e.new), e.source, e.time, e.kind)
            for k, e in enumerate(entries)
        ]
        state = next((state for e in reversed(entries) if (state := state_after(e))), None)
        with self.lock, schema.transaction(self._connection) as execute:
            execute("DELETE FROM journal WHERE run = ? AND number >= ?", (run, first))
            for row in rows:
                execute("INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
            if state is not None:
                execute("UPDATE runs SET state = ?, reason = ? WHERE id = ?", (*state, run))

    def save(self, run: str, kind: str, snapshot: Snapshot, entries: int, sync: bool = True) -> SnapshotFile:
        """Write a snapshot's file; `update` makes it the run's."""
        schema.refuse_links(self.folder)
        name = f"snapshots/{run}/{kind}-{snapshot.step}-{secrets.token_hex(4)}.safetensors"
        size = tensors.save(snapshot, self.folder / name, sync)
        return SnapshotFile(snapshot.step, entries, name, size)

    def update(
        self,
        run: str,
        progress: Progress,
        history: Delta | None = None,
        files: Mapping[str, SnapshotFile] | None = None,
        settings: Any = None,
    ) -> None:
        """Bring a run's rows up to date.

        Parameters
        ----------
        history : Delta, optional
            What is news of it.
        files : mapping of str to SnapshotFile
            All snapshots that the run is to have from now on, by kind.
        """
        with self.lock, schema.transaction(self._connection) as execute:
            execute("UPDATE runs SET step = ?, epoch = ?, best = ?, entries = ? WHERE id = ?", (*progress, run))
            if settings is not None:
                execute("UPDATE runs SET settings = ? WHERE id = ?", (_to_json(settings), run))
            if history is not None:
                history.write(run, execute)
            if files is not None:
                execute("DELETE FROM snapshots WHERE run = ?", (run,))
                for kind, file in files.items():
                    execute("INSERT INTO snapshots VALUES (?, ?, ?, ?, ?, ?)", (run, kind, *file))
        if files is not None:
            sweep(self.folder, run, {file.file for file in files.values()})

    def let_go(self, run: str) -> None:
        """Be a run's owner no longer."""
        with self.lock, schema.transaction(self._connection) as execute:
            execute("UPDATE runs SET owner = NULL WHERE id = ? AND owner = ?", (run, self._token))

    def tidy(self) -> None:
        """End what an interrupt left open, and empty the write-ahead log, once it is large."""
        if self.lock.acquire(blocking=False):
            try:
                schema.roll_back(self._connection)
            finally:
                self.lock.release()
        log = self.folder / f"{schema.FILE}-wal"
        if log.exists() and log.stat().st_size > schema.LOG_BYTES:
            schema.checkpoint(self.folder)
            # What was written meanwhile, too: only a log that is done with to its end begins anew.
            with self.lock:
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")


def sweep(folder: Path, run: str, kept: Container[str] = ()) -> None:
    """Remove the snapshots of a run but those ``kept``, and nothing else: links are not followed."""
    place = folder / "snapshots" / run
    if not checked.is_id(run) or place.is_symlink() or place.parent.is_symlink():
        return
    for path in place.glob("*"):
        if checked.is_snapshot_file(path.name) and path.relative_to(folder).as_posix() not in kept:
            with suppress(OSError):  # open in another process, on Windows
                path.unlink()
    with suppress(OSError):  # something is left in it
        place.rmdir()


def tidy_all() -> None:
    """See `Store.tidy`."""
    for store in list(_stores.values()):
        with suppress(sqlite3.Error, OSError):
            store.tidy()


def close_all() -> None:
    """Close the stores of this process, at its end."""
    for store in list(_stores.values()):
        store.close()


def _forget() -> None:
    # A fork starts with stores of its own: what sqlite has open belongs to the process that opened it.
    _parents.extend(_stores.values())
    _stores.clear()


_parents: list[Store] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

_stores: weakref.WeakValueDictionary[Path, Store] = weakref.WeakValueDictionary()
_stores_lock = threading.Lock()


def store_in(folder: Path) -> Store:
    """Return the store in ``folder``, one object per process while somebody holds it.

    Raises
    ------
    OSError, sqlite3.Error, StoreError
        If it cannot be opened and written.
    """
    with _stores_lock:
        store = _stores.get(folder)
        if store is None or not store.is_there:
            store = _stores[folder] = Store(folder)
        return store


def _close(folder: Path, connection: sqlite3.Connection, token: str, lock: threading.RLock) -> None:
    if lease.is_own(token):  # not in a fork of the process that opened it
        with lock:  # sqlite does not survive being closed while another thread writes
            connection.close()
        with suppress(OSError):
            lease.release(folder, token)


def _to_json(value: Any) -> str:
    return json.dumps(value, default=str)
