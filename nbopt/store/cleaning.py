"""Deleting old runs from the store."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

from nbopt.errors import shorten
from nbopt.i18n import _
from nbopt.store import checked, lease, schema
from nbopt.store.database import AUTO, Place, sweep
from nbopt.store.listing import StoredRuns, lines, reading
from nbopt.store.studies import delete_study


def clean(*, keep: int | None = None, older_than: timedelta | float | None = None, store: Place = AUTO) -> StoredRuns:
    """Delete old runs and studies from the store, with all that belongs to them; return which.

    Those that a live process holds stay. Given both limits, a run goes only if it is beyond both. A spoilt run whose
    age cannot be told counts as the oldest.

    Parameters
    ----------
    keep : int, optional
        How many of the newest runs stay whatever their age.
    older_than : timedelta or float, optional
        Age from which runs go; a number counts days.

    Raises
    ------
    ValueError
        If neither is given, or one is no number of at least 0.
    nbopt.store.schema.StoreError
        If the store cannot be read.

    Examples
    --------
    >>> finished = nbopt.Run(torch.nn.Linear(4, 3), (X, X[:, :3]), loss="mse", epochs=1).fit()
    >>> len(nbopt.clean(keep=20, older_than=30))  # the newest 20 stay, and those younger than 30 days
    0
    """
    if keep is None and older_than is None:
        raise ValueError(_("say which runs may go: keep=20, older_than=30 (days), or both."))
    if keep is not None and (isinstance(keep, bool) or not isinstance(keep, int) or keep < 0):
        raise ValueError(_("keep must be a whole number of at least 0; got {value}.", value=shorten(keep)))
    before = _before(older_than)
    with reading(store) as (folder, reader):
        found = lines(folder, reader)
        old = found[: max(0, len(found) - (keep or 0))]
        free = [(line, token) for line, token in old if line.created <= before and not lease.is_alive(folder, token)]
        gone = {line.id: token for line, token in free if line.trials is None}
        deleted = [line.id for line, token in free if line.trials is not None and delete_study(folder, line.id, token)]
        deleted += _delete(folder, gone) if reader is not None else []
    return StoredRuns(line for line, _token in old if line.id in deleted)


def delete(run_id: str, store: Place = AUTO) -> None:
    """Delete one run from the store, with all that belongs to it; does nothing if it is not there.

    Raises
    ------
    RuntimeError
        If a live process holds it.
    nbopt.store.schema.StoreError
        If the store cannot be read.
    """
    with reading(store) as (folder, reader):
        row = None if reader is None else reader.execute("SELECT owner FROM runs WHERE id = ?", (run_id,)).fetchone()
        if row is None:
            return
        if lease.is_alive(folder, row[0]):
            rule = _("close it there first")
            raise RuntimeError(_("run {id} is held by a live process: {rule}.", id=run_id, rule=rule))
        _delete(folder, {run_id: row[0]})


def _before(older_than: timedelta | float | None) -> datetime:
    """Return the time before which runs are old."""
    now = datetime.now().astimezone()
    if older_than is None:
        return now
    try:
        age = older_than if isinstance(older_than, timedelta) else timedelta(days=older_than)
        if age >= timedelta() and not isinstance(older_than, bool):
            return now - age
    except (TypeError, ValueError, OverflowError):  # no number, or beyond all calendars
        pass
    rule = _("a timedelta or a number of days, at least 0 and no more than the calendar has")
    raise ValueError(_("older_than must be {rule}; got {value}.", rule=rule, value=shorten(older_than)))


def _delete(folder: Path, owners: Mapping[str, str | None]) -> list[str]:
    """Delete runs, unless somebody else than these owners has opened them meanwhile; return which."""
    with closing(schema.connect(folder)) as connection:
        present = {path.name for path in (folder / "snapshots").glob("*")}  # first: a new run's row is there before
        with schema.transaction(connection):
            ids = [run for run, token in owners.items() if _is_still(connection, run, token)]
            for table in ("history", "records", "journal", "snapshots", "runs"):
                column = "id" if table == "runs" else "run"
                connection.executemany(f"DELETE FROM {table} WHERE {column} = ?", [(run,) for run in ids])
            known = {row[0] for row in connection.execute("SELECT id FROM runs")}
        for name in filter(checked.is_id, present - known):
            sweep(folder, name)
        try:
            connection.execute("VACUUM")
        except sqlite3.OperationalError:
            pass  # another process is writing: the space is used again later
    return ids


def _is_still(connection: sqlite3.Connection, run: str, token: str | None) -> bool:
    """Whether the run belongs to who it did; what is no lock's name belongs to nobody."""
    row = connection.execute("SELECT owner FROM runs WHERE id = ?", (run,)).fetchone()
    return row is not None and (row[0] if checked.is_id(row[0]) else None) == token
