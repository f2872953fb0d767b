"""The list of the runs that a store holds."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from nbopt.errors import shorten
from nbopt.formatting import brief, count, number
from nbopt.i18n import _
from nbopt.store import checked, database, lease, schema, writer
from nbopt.store.database import AUTO, Place
from nbopt.store.marking import stars
from nbopt.store.schema import StoreError
from nbopt.store.studies import StudyFacts, studies
from nbopt.store.table import Column, table
from nbopt.store.values import differing, read_last, read_values

_SHOWN = 40  # characters of a name, in the table
_COLUMNS = 8  # of settings that differ

FIELDS = ("id", "name", "parent", "created", "owner", "state", "reason", "step", "epoch", "best", "entries")
RUN = f"SELECT {', '.join(FIELDS)} FROM runs WHERE id IS ?"

# What belongs to a run: its size, how many rows are not of the right kind, and how many JSON texts to look at.
_PARTS = {
    "journal": """SELECT coalesce(sum(length(old) + length(new) + 64), 0), coalesce(sum(
            typeof(step) != 'integer' OR typeof(name) != 'text' OR typeof(source) != 'text' OR typeof(time) != 'real'
            OR typeof(old) != 'text' OR typeof(new) != 'text' OR kind NOT IN ('change', 'event')), 0)
        FROM journal WHERE run IS ?""",
    "history": """SELECT coalesce(sum(length(steps) + length(numbers)), 0), coalesce(sum(
            typeof(name) != 'text' OR typeof(steps) != 'blob' OR typeof(numbers) != 'blob'
            OR length(steps) != length(numbers) OR length(steps) % 8), 0)
        FROM history WHERE run IS ?""",
    "records": """SELECT coalesce(sum(length(data)), 0), coalesce(sum(typeof(data) != 'blob'), 0)
        FROM records WHERE run IS ?""",
    "snapshots": """SELECT coalesce(sum(bytes), 0), coalesce(sum(
            typeof(step) != 'integer' OR typeof(entries) != 'integer' OR typeof(bytes) != 'integer'), 0)
        FROM (SELECT DISTINCT file, bytes, step, entries FROM snapshots WHERE run IS ?)""",
}
_TEXTS = "SELECT old, new FROM journal WHERE run IS ? AND NOT (json_valid(old) AND json_valid(new))"


class StoredRun(NamedTuple):
    """One line of the list of runs.

    Attributes
    ----------
    id, name : str
    state : str
        As `RunState` has it; ``interrupted`` where the process ended while it was running; ``spoilt`` where the store
        no longer holds what was written there.
    created : datetime
    epoch, step : int
        Completed.
    best_val_loss : float or None
    bytes : int
        What the run takes on the disk: its history, its journal and at most three snapshots.
    parent : str or None
        The run it branched off or repeats.
    problem : str
        What of a spoilt run is not as it was written, in words.
    starred : bool
        Whether it was given a star.
    last : float or None
        The newest validation loss; the training loss of a run without validation.
    settings : mapping of str to object
        The hyperparameters' values that it ended with, and ``seed``; empty if it is spoilt. Of a population, those that
        it was made with for all members.
    members : int
        How many there are of a population; 0 for a run.
    trials : int or None
        How many of a study have ended; None for what is none.
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
    problem: str = ""
    starred: bool = False
    last: float | None = None
    settings: Mapping[str, Any] = MappingProxyType({})
    members: int = 0
    trials: int | None = None

    @property
    def title(self) -> str:
        """Its name; of a population, with how many members it has, and of a study, trials."""
        if self.trials is not None:
            return _("{name} ({count} trials)", name=self.name, count=self.trials)
        return _("{name} ({count} members)", name=self.name, count=self.members) if self.members else self.name

    def __repr__(self) -> str:
        return "  ".join(self._cells()).strip()

    def _cells(self) -> list[str]:
        best = "" if self.best_val_loss is None else brief(self.best_val_loss)
        state = f"{self.state}: {self.problem}" if self.problem else self.state
        created = f"{self.created:%Y-%m-%d %H:%M}"
        cells = [_on_a_line(self.id), _on_a_line(self.title), state, created]
        return [*cells, str(self.epoch), str(self.step), best, megabytes(self.bytes)]


class StoredRuns(list[StoredRun]):
    """A list that shows itself as a table."""

    def __repr__(self) -> str:
        if not self:
            return _("no runs are stored here")
        head = [_("run"), _("name"), _("state"), _("created"), _("epoch"), _("step"), _("best val_loss"), _("size")]
        table = [head, *(run._cells() for run in self)]
        widths = [max(len(row[k]) for row in table) for k in range(len(head))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table]
        size = megabytes(sum(run.bytes for run in self))
        total = _("{size} in all; nbopt.clean deletes old runs", size=size)
        return "\n".join([*(line.rstrip() for line in lines), total])

    def _repr_html_(self) -> str:
        differ = differing([run.settings for run in self])
        columns: list[Column] = [
            (_("run"), lambda run: f"★ {run.title}" if run.starred else run.title),
            (_("state"), lambda run: f"{run.state}: {run.problem}" if run.problem else run.state),
            *((name, lambda run, name=name: number(run.settings.get(name, ""))) for name in differ[:_COLUMNS]),
            (_("best"), lambda run: _number(run.best_val_loss)),
            (_("last"), lambda run: _number(run.last)),
            (_("step"), lambda run: count(run.step)),
            (_("created"), lambda run: f"{run.created:%Y-%m-%d %H:%M}"),
            (_("size"), lambda run: megabytes(run.bytes)),
            ("id", lambda run: run.id),
        ]
        return table(columns, self[::-1]) if self else f"<p>{_('no runs are stored here')}</p>"


def runs(store: Place = AUTO) -> StoredRuns:
    """Return the runs and studies of a store, oldest first; one that is spoilt is listed as such, and hides no other.

    Parameters
    ----------
    store : str or path
        Its folder; by default ``NBOPT_HOME``, else ``.nbopt`` in the working directory.

    Raises
    ------
    nbopt.store.schema.StoreError
        If its database cannot be read at all.

    Examples
    --------
    >>> nbopt.Run(torch.nn.Linear(4, 3), (X, X[:, :3]), loss="mse", epochs=2, name="first").fit()
    <Run 'first': finished, epoch 2/2, step 2>
    >>> [(line.name, line.state, line.step) for line in nbopt.runs()]
    [('first', 'finished', 2)]
    """
    with reading(store) as (folder, connection):
        found = [line for line, _owner in lines(folder, connection)]
        starred = stars(folder) if connection is not None else ()
        return StoredRuns(
            line
            if line.trials is not None or connection is None
            else line._replace(starred=line.id in starred, **_glimpse(line, connection))
            for line in found
        )


def lines(folder: Path, connection: sqlite3.Connection | None) -> list[tuple[StoredRun, str | None]]:
    """Return the list's lines, oldest first, each with the lock of its owner."""
    ids = [] if connection is None else [row[0] for row in connection.execute("SELECT id FROM runs")]
    found = [_line(folder, connection, run) for run in ids if connection is not None]
    found += [(_line_of(folder, facts), facts.owner) for facts in studies(folder)]
    return sorted(found, key=lambda pair: (pair[0].created, pair[0].id))


def _line_of(folder: Path, study: StudyFacts) -> StoredRun:
    """Return the line of a study."""
    state = "spoilt" if study.problem else state_of(folder, study.state, study.owner)
    created = datetime.fromtimestamp(study.created).astimezone()
    facts = (study.id, study.name, state, created, 0, 0, study.best, study.bytes, None, study.problem)
    return StoredRun(*facts, trials=study.trials)


def state_of(folder: Path, state: str, token: str | None) -> str:
    """Return a run's state: one that was running when its process ended is interrupted."""
    return "interrupted" if state == "running" and not lease.is_alive(folder, token) else state


@contextmanager
def reading(place: Place) -> Iterator[tuple[Path, sqlite3.Connection | None]]:
    """Open a store to read; the connection is None if there is no such store.

    Raises
    ------
    StoreError
        If it cannot be read.
    """
    folder = database.folder_of(place)
    writer.flush(folder)
    try:
        schema.refuse_links(folder)
        if not (folder / schema.FILE).exists():
            yield folder, None
            return
        with closing(schema.connect_to_read(folder)) as connection:
            yield folder, connection
    except (sqlite3.Error, OverflowError, UnicodeError) as error:
        raise StoreError(_("the store in {folder} cannot be read: {error}.", folder=folder, error=error)) from error


def has_records(connection: sqlite3.Connection) -> bool:
    """Whether the store is of a version that knows populations."""
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'records'").fetchone() is not None


def _glimpse(line: StoredRun, connection: sqlite3.Connection) -> dict[str, Any]:
    if line.problem:
        return {}
    try:
        values = read_values(connection, line.id)
        members = values.pop("members", 0)
        return {"settings": values, "last": read_last(connection, line.id), "members": members}
    except (StoreError, sqlite3.Error, ValueError, OverflowError, TypeError):
        return {"state": "spoilt", "problem": "settings"}


def _number(value: float | None) -> str:
    return "" if value is None else brief(value)


def megabytes(count: int) -> str:
    """Write a number of bytes."""
    return f"{count / 2**20:.1f} MB"


def _line(folder: Path, connection: sqlite3.Connection, run: Any) -> tuple[StoredRun, str | None]:
    """Return the line of one run, and the lock of its owner."""
    row: dict[str, Any] = dict.fromkeys(FIELDS)
    problems: list[str] = []
    try:
        row = dict(zip(FIELDS, connection.execute(RUN, (run,)).fetchone() or row.values(), strict=True))
    except (sqlite3.Error, OverflowError, UnicodeError) as error:
        problems.append(shorten(str(error)))
    row["id"] = run
    wrong = checked.wrong_fields(row)
    problems += wrong
    size = 0
    for part, query in _PARTS.items():
        if part == "records" and not has_records(connection):
            continue
        try:
            taken, odd = connection.execute(query, (run,)).fetchone()
            size += int(taken)
            texts = connection.execute(_TEXTS, (run,)).fetchall() if part == "journal" and not odd else []
            for text in (text for pair in texts for text in pair):
                checked.parse(text)
        except (sqlite3.Error, ValueError, OverflowError):
            odd = True
        problems += [part] if odd else []
    token = None if "owner" in wrong else row["owner"]
    shown = {name: None if name in wrong else value for name, value in row.items()}
    return StoredRun(
        run if isinstance(run, str) else shorten(run),
        shown["name"] or "",
        "spoilt" if problems else state_of(folder, row["state"], token),
        datetime.fromtimestamp(shown["created"] or 0.0).astimezone(),
        shown["epoch"] or 0,
        shown["step"] or 0,
        shown["best"],
        size,
        shown["parent"],
        ", ".join(problems),
    ), token


def _on_a_line(text: str) -> str:
    text = text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
    return "".join(letter if letter.isprintable() else "�" for letter in text)
