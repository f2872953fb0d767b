"""Names and stars that people give the runs of a store: they are changed without opening the run."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import closing
from pathlib import Path

from nbopt.errors import check_text, unknown
from nbopt.i18n import _
from nbopt.store import schema
from nbopt.store.database import AUTO, Place, folder_of

_STARS = "stars.json"


def stars(store: Place = AUTO) -> frozenset[str]:
    """Return the ids of the runs that bear a star; none where the file is not what `star` wrote.

    Parameters
    ----------
    store : str or path
        The store's folder; by default ``NBOPT_HOME``, else ``.nbopt`` in the working directory.
    """
    try:
        found = json.loads((folder_of(store) / _STARS).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):  # a star is no more than a star: the list is there without
        return frozenset()
    return frozenset(run for run in found if isinstance(run, str)) if isinstance(found, list) else frozenset()


def star(run_id: str, on: bool = True, store: Place = AUTO) -> None:
    """Give a run a star, or take it away.

    Raises
    ------
    OSError
        If the store cannot be written.
    """
    folder = folder_of(store)
    kept = stars(folder) | {run_id} if on else stars(folder) - {run_id}
    folder.mkdir(parents=True, exist_ok=True)
    handle, path = tempfile.mkstemp(dir=folder)  # whole or not at all, whatever happens meanwhile
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(sorted(kept), file)
    Path(path).replace(folder / _STARS)


def rename(run_id: str, name: str, store: Place = AUTO) -> None:
    """Give a stored run another name, whoever has it open.

    Raises
    ------
    InvalidHyperparam
        If the store holds no such run.
    TypeError, ValueError
        For what cannot be a name.
    sqlite3.Error, nbopt.store.schema.StoreError
        If the store cannot be written.
    """
    name = check_text("name", name)
    folder = folder_of(store)
    with closing(schema.connect(folder)) as connection, schema.transaction(connection) as execute:
        if execute("UPDATE runs SET name = ? WHERE id = ?", (name, run_id)).rowcount != 1:
            raise unknown(_("run"), run_id, [row[0] for row in execute("SELECT id FROM runs LIMIT 8")])
