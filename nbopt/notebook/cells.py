"""Which cell made which run."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbopt.engine.run import Run

SOURCE = "cell"
"""Who pauses a run whose cell is run again, in its journal."""


class Cells:
    """Remembers the runs that each cell of a notebook made."""

    def __init__(self) -> None:
        # By cell: the newest execution's number, and the runs of the newest execution that made some.
        self._made: dict[str, tuple[str, list[weakref.ref[Run]]]] = {}
        self._earlier: weakref.WeakKeyDictionary[Run, list[weakref.ref[Run]]] = weakref.WeakKeyDictionary()

    def made(self, run: Run) -> None:
        """Take note of a new run; the runs of an earlier execution of its cell are paused."""
        found = _here()
        if found is None:
            return
        cell, execution = found
        before, runs = self._made.get(cell, ("", []))
        if before != execution:
            for earlier in _alive(runs):
                earlier.pause(source=SOURCE)
                earlier.release_workers()  # it may rest for good
            self._earlier[run] = runs
            runs = []
        self._made[cell] = execution, [*runs, weakref.ref(run)]

    def earlier(self, run: Run) -> list[Run]:
        """Return the runs that an earlier execution of the run's cell made, as far as they are still there."""
        return _alive(self._earlier.get(run, []))


def _alive(runs: list[weakref.ref[Run]]) -> list[Run]:
    return [run for ref in runs if (run := ref()) is not None]


def _here() -> tuple[str, str] | None:
    """Return which cell is running and in which execution; None outside of cells, and where the host does not tell."""
    from IPython.core.getipython import get_ipython

    parent: dict[str, Any] = getattr(get_ipython(), "get_parent", dict)() or {}
    cell = parent.get("metadata", {}).get("cellId")
    return None if cell is None else (cell, parent["header"]["msg_id"])


CELLS = Cells()
"""Those of this kernel."""
