"""Reading the store: one of its runs, whole."""

from __future__ import annotations

import difflib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nbopt.errors import InvalidHyperparam, shorten, unknown
from nbopt.i18n import _
from nbopt.record.history import MOST, History
from nbopt.record.journal import Entry, Journal
from nbopt.record.ledger import divide
from nbopt.record.snapshots import Snapshot
from nbopt.store import checked, tensors
from nbopt.store.checked import spoilt
from nbopt.store.database import AUTO, Place, SnapshotFile
from nbopt.store.listing import FIELDS, RUN, reading, state_of
from nbopt.store.records import read_histories

_AHEAD = 10**6  # steps by which a journal may be ahead of the stored history: it is written twice a second
_LONGEST = 80  # characters that are looked for among the ids
_SHOWN = 8  # ids that an error about an unknown one lists


class MemberRecord(NamedTuple):
    """A member of a stored population, to read.

    Attributes
    ----------
    number : int
    initial : dict of str to object
        The hyperparameters' values at its beginning.
    history : History
    journal : Journal
    early : History
        As it was when the newest state of all members was stored.
    """

    number: int
    initial: dict[str, Any]
    history: History
    journal: Journal
    early: History

    @property
    def hyperparams(self) -> dict[str, Any]:
        """The values that it ended with."""
        changed = {change.name: change.value for change in self.journal.schedule() if change.name in self.initial}
        return self.initial | changed

    def __repr__(self) -> str:
        return f"<stored member {self.number}: {self.history}>"


class Record:
    """A stored run, or population, to read.

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
    members : list of MemberRecord
        Of a population.
    ledger : list of Entry
        Of a population, all journals as one, see `nbopt.record.ledger`.
    records : int
        Of a population, how many its histories are stored in.
    """

    def __init__(self, folder: Path, connection: sqlite3.Connection, run: str) -> None:
        self.folder = folder
        row = dict(zip(FIELDS, connection.execute(RUN, (run,)).fetchone(), strict=True))
        if wrong := checked.wrong_fields(row):
            raise spoilt(run, ", ".join(wrong))
        self.id: str = row["id"]
        self.name: str = row["name"]
        self.parent: str | None = row["parent"]
        self.created: float = row["created"]
        self.owner: str | None = row["owner"]
        self.state = state_of(folder, row["state"], self.owner)
        self.reason: str = row["reason"]
        self.step: int = row["step"]
        made_with = connection.execute("SELECT settings FROM runs WHERE id = ?", (run,)).fetchone()[0]
        self.settings = checked.check_settings(run, made_with)
        query = "SELECT number, step, name, old, new, source, time, kind FROM journal WHERE run = ? ORDER BY number"
        entries = [checked.check_entry(run, k, row) for k, row in enumerate(connection.execute(query, (run,)))]
        self.journal = Journal(entries)
        self.stored_history = History()
        query = "SELECT name, steps, numbers FROM history WHERE run = ? ORDER BY name, chunk"
        for chunk in connection.execute(query, (run,)):
            self.stored_history.extend(*checked.check_chunk(run, *chunk))
        self.history = self.stored_history
        if undone := [entry.new for entry in entries[row["entries"] :] if entry.name == "rewind"]:
            self.history = self.stored_history.copy_to(min(undone), validated=True)
        self.files: dict[str, SnapshotFile] = {}
        query = "SELECT kind, step, entries, file, bytes FROM snapshots WHERE run = ?"
        for kind, *rest in connection.execute(query, (run,)):
            checked.check_snapshot(run, kind, rest)
            if _is_past(file := SnapshotFile(*rest), entries):
                self.files[kind] = file
        self.members: list[MemberRecord] = []
        self.ledger: list[Entry] = []
        self.records = 0
        if "population" in self.settings:
            self._read_members(connection, entries)

    def _read_members(self, connection: sqlite3.Connection, entries: list[Entry]) -> None:
        rows = self.settings["population"]["rows"]
        try:
            own, journals = divide(entries, len(rows))
        except ValueError as error:
            raise spoilt(self.id, _("entry {number} of its journal", number=error)) from error
        mark = self.files["latest"].entries if "latest" in self.files else -1
        stored = read_histories(connection, self.id, len(rows), mark)
        self.records = stored.records
        self.ledger, self.journal = entries, Journal(own)
        initial: dict[str, Any] = self.settings["initial"]
        for number, (row, journal, history) in enumerate(zip(rows, journals, stored.now, strict=True)):
            marked = history if stored.marked is None else stored.marked[number]
            self.members.append(MemberRecord(number, initial | row, history, Journal(journal), marked))

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
        OSError, StoreError
            If its file is missing or damaged.
        """
        if kind not in self.files:
            raise unknown(_("snapshot"), kind, self.files)
        return tensors.load(self.folder / self.files[kind].file)

    def load_snapshots(self) -> dict[str, Snapshot]:
        """Load the snapshots there are, by kind; those damaged are left out, as long as one is whole.

        Raises
        ------
        OSError, StoreError
            If none is.
        """
        loaded: dict[str, Snapshot] = {}
        by_file: dict[str, Snapshot] = {}
        error: Exception | None = None
        for kind, file in self.files.items():
            try:
                if file.file not in by_file:
                    by_file[file.file] = self.snapshot(kind)
                loaded[kind] = by_file[file.file]
            except Exception as problem:  # whatever a damaged file raises
                error = problem
        if error is not None and not loaded:
            raise error
        return loaded

    @property
    def end(self) -> int:
        """How many steps the record tells of.

        Raises
        ------
        StoreError
            If nobody did so many: they are not done again.
        """
        end = 0
        for entry in self.journal:
            end = entry.new if entry.name == "rewind" else max(end, entry.step)
        losses = 0
        if "loss" in self.history:
            losses = len(self.history["loss"][0])
            end = max(end, int(self.history["loss"][0][-1]) + 1)
        if losses < MOST // 4 and end > losses + _AHEAD:
            raise spoilt(self.id, _("how many steps it did"))
        return end

    def to_pandas(self) -> Any:
        """Return the history as a ``pandas.DataFrame``, see `History.to_pandas`."""
        return self.history.to_pandas()

    def __repr__(self) -> str:
        if self.members:
            told = f"{len(self.members)} members, {self.state}, step {self.step}"
            return f"<stored population {self.id} {self.name!r}: {told}>"
        return f"<stored run {self.id} {self.name!r}: {self.state}, step {self.step}>"


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
    StoreError
        If the run is spoilt, or the store cannot be read.
    """
    if not isinstance(run_id, str):
        raise InvalidHyperparam(_("the id of a run is a text; got {value}.", value=shorten(run_id)))
    with reading(store) as (folder, connection):
        query = "SELECT id FROM runs WHERE typeof(id) = 'text' ORDER BY created DESC"
        ids = [row[0] for row in connection.execute(query)] if connection else []
        found = [run for run in ids if run == run_id] or [run for run in ids if run_id and run.startswith(run_id)]
        if len(found) != 1 or connection is None:
            raise _not_found(run_id, found, ids, folder)
        connection.execute("BEGIN")  # all of it as it was at one time
        try:
            return Record(folder, connection, found[0])
        except (sqlite3.Error, OverflowError, UnicodeError) as error:
            raise spoilt(found[0], str(error)) from error


def _is_past(file: SnapshotFile, entries: Sequence[Entry]) -> bool:
    """Whether no rewind since has undone the state of a snapshot."""
    return all(file.step <= entry.new for entry in entries[file.entries :] if entry.name == "rewind")


def _not_found(run_id: str, found: Sequence[str], ids: Sequence[str], folder: Path) -> InvalidHyperparam:
    if not ids:
        return InvalidHyperparam(_("no runs are stored in {folder}.", folder=folder))
    if found:
        begin = _("several runs begin with {id!r}", id=run_id)
        return InvalidHyperparam(_("{begin}: {names}.", begin=begin, names=", ".join(found[:_SHOWN])))
    close = difflib.get_close_matches(run_id[:_LONGEST], ids, n=1, cutoff=0.5)
    return unknown(_("run"), run_id, list(dict.fromkeys([*close, *ids]))[:_SHOWN])
