"""What a list of runs tells of each one's settings and measurements, read without reading the run whole."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nbopt.record.journal import Entry, Journal
from nbopt.store import checked

Values = Mapping[str, Any]


def read_values(connection: sqlite3.Connection, run: str) -> dict[str, Any]:
    """Return the values that a stored run ended with, its seed and, of a population, its ``members`` among them.

    Raises
    ------
    StoreError, ValueError, sqlite3.Error
        If they are not what was written.
    """
    made_with = connection.execute("SELECT settings FROM runs WHERE id = ?", (run,)).fetchone()[0]
    settings = checked.check_settings(run, made_with)
    query = "SELECT step, name, new, kind FROM journal WHERE run = ? AND (kind = 'change' OR name = 'rewind')"
    rows = connection.execute(f"{query} ORDER BY number", (run,)).fetchall()
    journal = Journal(Entry(step, name, None, checked.parse(new), "", 0.0, kind) for step, name, new, kind in rows)
    initial: dict[str, Any] = settings["initial"]
    changed = {change.name: change.value for change in journal.schedule() if change.name in initial}
    several = {"members": len(settings["population"]["rows"])} if "population" in settings else {}
    return {**initial, **changed, "seed": settings["seed"], **several}


def read_last(connection: sqlite3.Connection, run: str) -> float | None:
    """Return the newest validation loss of a stored run or, where it has none, its training loss."""
    query = "SELECT numbers FROM history WHERE run = ? AND name = ? ORDER BY chunk DESC LIMIT 1"
    for name in ("val_loss", "loss"):
        row = connection.execute(query, (run, name)).fetchone()
        if row is not None and isinstance(row[0], bytes) and row[0] and not len(row[0]) % 8:
            return float(np.frombuffer(row[0], "<f8")[-1])
    return None


def differing(settings: Sequence[Values]) -> list[str]:
    """Return the settings that are not alike in all of them; what one does not know is not compared.

    Parameters
    ----------
    settings : sequence of mapping of str to object
        Of each run, by name.

    Examples
    --------
    >>> from nbopt.store.values import differing
    >>> differing([{"lr": 0.1, "seed": 0}, {"lr": 0.01, "seed": 0}, {}])
    ['lr']
    """
    names = dict.fromkeys(name for values in settings for name in values)
    return [name for name in names if len({repr(values[name]) for values in settings if name in values}) > 1]
