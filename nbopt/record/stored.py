"""Reading the store: the list of its runs, and one of them whole."""

from __future__ import annotations

import difflib
import json
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nbopt.names import InvalidHyperparam, unknown
from nbopt.record import owner, schema, store, tensors, writer
from nbopt.record.history import History
from nbopt.record.journal import Entry, Journal
from nbopt.record.snapshots import Snapshot
from nbopt.record.store import AUTO, Place, SnapshotFile
from nbopt.words import _

_SHOWN = 8  # ids that an error about an unknown one lists

_RUNS = """SELECT id, name, state, reason, created, epoch, step, best, parent, owner,
    (SELECT coalesce(sum(length(steps) + length(numbers)), 0) FROM history WHERE run = id)
    + (SELECT coalesce(sum(length(old) + length(new) + 64), 0) FROM journal WHERE run = id)
    + (SELECT coalesce(sum(bytes), 0) FROM (SELECT DISTINCT file, bytes FROM snapshots WHERE run = id))
    FROM runs ORDER BY created, id"""


class StoredRun(NamedTuple):
    """One line of the list of runs.

    Attributes
    ----------
    id, name : str
    state : str
        As `RunState` has it; ``interrupted`` where the process ended while it was running.
    created : datetime
    epoch, step : int
        Completed.
    best_val_loss : float or None
    bytes : int
        What the run takes on the disk: its history, its journal and at most three snapshots.
    parent : str or None
        The run it branched off or repeats.
    """

    id: str
    name: str
    state: str
    created: datetime
    epoch: int
    step: int
    best_val_loss: float | None
    bytes: int
    parent: str | None

    def __repr__(self) -> str:
        return "  ".join(self._cells()).strip()

    def _cells(self) -> list[str]:
        best = "" if self.best_val_loss is None else f"{self.best_val_loss:.4g}"
        size = _megabytes(self.bytes)
        created = f"{self.created:%Y-%m-%d %H:%M}"
        return [self.id, self.name, self.state, created, str(self.epoch), str(self.step), best, size]


class StoredRuns(list[StoredRun]):
    """A list that shows itself as a table."""

    def __repr__(self) -> str:
        if not self:
            return _("no runs are stored here")
        head = [_("run"), _("name"), _("state"), _("created"), _("epoch"), _("step"), _("best val_loss"), _("size")]
        table = [head, *(run._cells() for run in self)]
        widths = [max(len(row[k]) for row in table) for k in range(len(head))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table]
        size = _megabytes(sum(run.bytes for run in self))
        total = _("{size} in all; nbopt.clean deletes old runs", size=size)
        return "\n".join([*(line.rstrip() for line in lines), total])


class Record:
    """A stored run, to read.

    Attributes
    ----------
    id, name, state, reason : str
        The reason is why the run ended, in words; "" where it did not.
    parent : str or None
    created : float
        Seconds since the epoch.
    settings : dict
        What the run was made with.
    history : History
    journal : Journal
    files : dict of str to SnapshotFile
        ``initial``, ``best`` and ``latest``, as far as there are.
    owner : str or None
        The lock of the process that writes to it, or did.
    """

    def __init__(self, folder: Path, connection: sqlite3.Connection, run: str) -> None:
        self.folder = folder
        query = "SELECT id, name, parent, created, settings, owner, state, reason, step, entries FROM runs WHERE id = ?"
        row = connection.execute(query, (run,)).fetchone()
        self.id: str = row[0]
        self.name: str = row[1]
        self.parent: str | None = row[2]
        self.created: float = row[3]
        self.settings: dict[str, Any] = json.loads(row[4])
        self.owner: str | None = row[5]
        self.state = _state(folder, row[6], self.owner)
        self.reason: str = row[7]
        self.step: int = row[8]
        entries = [
            Entry(step, name, json.loads(old), json.loads(new), source, time, kind)
            for step, name, old, new, source, time, kind in connection.execute(
                "SELECT step, name, old, new, source, time, kind FROM journal WHERE run = ? ORDER BY number", (run,)
            )
        ]
        self.journal = Journal(entries)
        self.stored_history = History()
        for name, steps, numbers in connection.execute(
            "SELECT name, steps, numbers FROM history WHERE run = ? ORDER BY name, chunk", (run,)
        ):
            self.stored_history.extend(name, np.frombuffer(steps, "<i8"), np.frombuffer(numbers, "<f8"))
        self.history = self.stored_history
        if undone := [entry.new for entry in entries[row[9] :] if entry.name == "rewind"]:
            self.history = self.stored_history.copy_to(min(undone), validated=True)
        query = "SELECT kind, step, entries, file, bytes FROM snapshots WHERE run = ?"
        files = {kind: SnapshotFile(*rest) for kind, *rest in connection.execute(query, (run,))}
        self.files = {kind: file for kind, file in files.items() if _is_past(file, entries)}

    @property
    def hyperparams(self) -> dict[str, Any]:
        """The values the run ended with."""
        initial: dict[str, Any] = self.settings["initial"]
        return initial | {change.name: change.value for change in self.journal.schedule() if change.name in initial}

    def snapshot(self, kind: str = "latest") -> Snapshot:
        """Load a snapshot: ``initial``, ``best`` or ``latest``.

        Raises
        ------
        InvalidHyperparam
            If there is none of this kind.
        OSError, safetensors.SafetensorError
            If its file is missing or damaged.
        """
        if kind not in self.files:
            raise unknown(_("snapshot"), kind, self.files)
        return tensors.load(self.folder / self.files[kind].file)

    def to_pandas(self) -> Any:
        """Return the history as a ``pandas.DataFrame``, see `History.to_pandas`."""
        return self.history.to_pandas()

    def __repr__(self) -> str:
        return f"<stored run {self.id} {self.name!r}: {self.state}, step {self.step}>"


def runs(store: Place = AUTO) -> StoredRuns:
    """Return what the store holds, oldest first.

    Parameters
    ----------
    store : str or path
        Its folder; by default ``NBOPT_HOME``, else ``.nbopt`` in the working directory.
    """
    with _reading(store) as (folder, connection):
        if connection is None:
            return StoredRuns()
        return StoredRuns(_line(folder, row) for row in connection.execute(_RUNS))


def read(run_id: str, store: Place = AUTO) -> Record:
    """Return a stored run, to read.

    Parameters
    ----------
    run_id : str
        Its id, or as much of the beginning as no other run shares.

    Raises
    ------
    InvalidHyperparam
        If the store holds no such run, or several.
    """
    with _reading(store) as (folder, connection):
        ids = [row[0] for row in connection.execute("SELECT id FROM runs ORDER BY created DESC")] if connection else []
        found = [run for run in ids if run == run_id] or [run for run in ids if run_id and run.startswith(run_id)]
        if len(found) != 1 or connection is None:
            raise _not_found(run_id, found, ids, folder)
        connection.execute("BEGIN")  # all of it as it was at one time
        return Record(folder, connection, found[0])


def clean(*, keep: int | None = None, older_than: timedelta | float | None = None, store: Place = AUTO) -> StoredRuns:
    """Delete old runs from the store, with all that belongs to them; return which.

    Runs that a live process holds stay. Given both limits, a run goes only if it is beyond both.

    Parameters
    ----------
    keep : int, optional
        How many of the newest runs stay whatever their age.
    older_than : timedelta or float, optional
        Age from which runs go; a number counts days.

    Raises
    ------
    ValueError
        If neither is given.
    """
    if keep is None and older_than is None:
        raise ValueError(_("say which runs may go: keep=20, older_than=30 (days), or both."))
    limit = older_than if isinstance(older_than, timedelta) or older_than is None else timedelta(days=older_than)
    before = datetime.now().astimezone() - (limit or timedelta())
    with _reading(store) as (folder, reader):
        if reader is None:
            return StoredRuns()
        rows = reader.execute(_RUNS).fetchall()
    old = rows[: max(0, len(rows) - (keep or 0))]
    gone = {row[0]: row[9] for row in old if not owner.is_alive(folder, row[9])}
    lines = [line for row in old if row[0] in gone and (line := _line(folder, row)).created <= before]
    deleted = _delete(folder, {line.id: gone[line.id] for line in lines})
    return StoredRuns(line for line in lines if line.id in deleted)


def _delete(folder: Path, owners: Mapping[str, str | None]) -> list[str]:
    """Delete runs, unless somebody else than these owners has opened them meanwhile; return which."""
    with closing(schema.connect(folder)) as connection:
        present = {path.name for path in (folder / "snapshots").glob("*")}  # first: a new run's row is there before
        with schema.transaction(connection):
            same = "SELECT 1 FROM runs WHERE id = ? AND owner IS ?"
            ids = [run for run, token in owners.items() if connection.execute(same, (run, token)).fetchone()]
            for table, column in (("history", "run"), ("journal", "run"), ("snapshots", "run"), ("runs", "id")):
                connection.executemany(f"DELETE FROM {table} WHERE {column} = ?", [(run,) for run in ids])
            known = {row[0] for row in connection.execute("SELECT id FROM runs")}
        for name in present - known:
            shutil.rmtree(folder / "snapshots" / name, ignore_errors=True)
        try:
            connection.execute("VACUUM")
        except sqlite3.OperationalError:
            pass  # another process is writing: the space is used again later
    return ids


@contextmanager
def _reading(place: Place) -> Iterator[tuple[Path, sqlite3.Connection | None]]:
    folder = store.folder_of(place)
    writer.flush(folder)
    if not (folder / schema.FILE).exists():
        yield folder, None
        return
    with closing(schema.connect_to_read(folder)) as connection:
        yield folder, connection


def _megabytes(count: int) -> str:
    return f"{count / 2**20:.1f} MB"


def _line(folder: Path, row: Sequence[Any]) -> StoredRun:
    run, name, state, _reason, created, epoch, step, best, parent, token, size = row
    when = datetime.fromtimestamp(created).astimezone()
    return StoredRun(run, name, _state(folder, state, token), when, epoch, step, best, size, parent)


def _state(folder: Path, state: str, token: str | None) -> str:
    return "interrupted" if state == "running" and not owner.is_alive(folder, token) else state


def _is_past(file: SnapshotFile, entries: Sequence[Entry]) -> bool:
    """Whether no rewind since has undone the state of a snapshot."""
    return all(file.step <= entry.new for entry in entries[file.entries :] if entry.name == "rewind")


def _not_found(run_id: str, found: Sequence[str], ids: Sequence[str], folder: Path) -> InvalidHyperparam:
    if not ids:
        return InvalidHyperparam(_("no runs are stored in {folder}.", folder=folder))
    if found:
        begin = _("several runs begin with {id!r}", id=run_id)
        return InvalidHyperparam(_("{begin}: {names}.", begin=begin, names=", ".join(found[:_SHOWN])))
    close = difflib.get_close_matches(run_id, ids, n=1, cutoff=0.5)
    return unknown(_("run"), run_id, list(dict.fromkeys([*close, *ids]))[:_SHOWN])
