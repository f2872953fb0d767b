"""Which cell made which run, and which cells show what.

ipywidgets keeps every widget until it is closed, and with it the panel and the run behind it. So what a cell showed is
taken away when the cell is run again: not at once, for the page may still be building it, and the panel that came in
its place says how to get back to the earlier run; but the next time. Then the run is free, unless it trains or somebody
holds it. Outputs cleared by hand are still there for all that a kernel can know.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from nbopt.run.session.operable import Driven

SOURCE = "cell"
"""Who pauses a run whose cell is run again, in its journal."""


_NOWHERE = ("", "")  # outside of cells: an output that no cell replaces


class Shown(Protocol):
    """What stands in the outputs of cells."""

    def close(self) -> None:
        """Take it away for good."""


class Cells:
    """Remembers the runs that each cell of a notebook made, and what its output shows."""

    def __init__(self) -> None:
        # By cell: the newest execution's number, and the runs of the newest execution that made some.
        self._made: dict[str, tuple[str, list[weakref.ref[Driven]]]] = {}
        self._earlier: weakref.WeakKeyDictionary[Driven, list[weakref.ref[Driven]]] = weakref.WeakKeyDictionary()
        # The cells in whose outputs something stands, each with the execution that put it there.
        self._places: weakref.WeakKeyDictionary[Shown, dict[str, str]] = weakref.WeakKeyDictionary()
        # By cell: the newest execution, and what lost its last place by it.
        self._replaced: dict[str, tuple[str, weakref.WeakSet[Shown]]] = {}

    def made(self, run: Driven) -> None:
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

    def earlier(self, run: Driven) -> list[Driven]:
        """Return the runs that an earlier execution of the run's cell made, as far as they are still there."""
        return _alive(self._earlier.get(run, []))

    def shows(self, thing: Shown) -> None:
        """Take note that the running cell shows something."""
        from IPython.core.getipython import get_ipython

        cell, execution = _here() or _NOWHERE
        self._places.setdefault(thing, {})[cell] = execution
        if (shell := get_ipython()) is not None:
            shell.events.register("pre_run_cell", self.begin)

    def is_shown(self, thing: Shown) -> bool:
        """Whether it stands in the output of any cell, as far as can be known."""
        return bool(self._places.get(thing))

    def begin(self, _info: object = None) -> None:
        """Take note that a cell begins, whose output is thereby cleared; close what it replaced the last time."""
        found = _here()
        if found is None:
            return
        cell, execution = found
        before, replaced = self._replaced.get(cell, ("", ()))
        if before == execution:  # code run by a cell, as a demo's
            return
        for thing in list(replaced):
            if not self.is_shown(thing):
                thing.close()
        gone: weakref.WeakSet[Shown] = weakref.WeakSet()
        for thing, places in list(self._places.items()):
            if places.get(cell, execution) != execution:
                del places[cell]
                if not places:
                    gone.add(thing)
        self._replaced[cell] = execution, gone


def _alive(runs: list[weakref.ref[Driven]]) -> list[Driven]:
    return [run for ref in runs if (run := ref()) is not None]


def _here() -> tuple[str, str] | None:
    """Return which cell is running and in which execution; None outside of cells, and where the host does not tell."""
    from IPython.core.getipython import get_ipython

    parent: dict[str, Any] = getattr(get_ipython(), "get_parent", dict)() or {}
    cell = parent.get("metadata", {}).get("cellId")
    return None if cell is None else (cell, parent["header"]["msg_id"])


CELLS = Cells()
"""Those of this kernel."""
