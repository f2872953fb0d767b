"""The journal: every change and event of a run, in order. Panel, curves and replay derive from it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, overload

from nbopt.errors import storable


class Entry(NamedTuple):
    """One line of the journal.

    Attributes
    ----------
    step : int
        Steps completed when it happened; a changed value acts from the step of this number (from 0) on.
    name : str
        The hyperparameter changed, or the event: ``start``, ``step``, ``resume``, ``pause``, ``stopped``,
        ``finished``, ``failed``, ``restore_best``, ``edit``, ``rewind``, ``open``, ``not_exact``, ``store_failed``, ...
    old, new : Any
        Values before and after; for an event, ``new`` is its detail or None.
    source : str
        Who asked: ``code``, ``panel``, ``run``, ...
    time : float
        Seconds since the epoch.
    kind : str
        ``change`` or ``event``.
    """

    step: int
    name: str
    old: Any
    new: Any
    source: str
    time: float
    kind: str


ACTIONS = ("restore_best", "reopen", "leave_out")
"""Events that change a run as a hyperparameter does, at the step they are journaled with."""


SWITCH = "switch"
"""The event of a change in how steps are done; part of what a replay repeats, and of no export."""

TUNING = "tuning"
"""The event of a change made to the model by hand: which of its weights train. Part of what a replay repeats."""

NOT_EXACT = "not_exact"
"""The event of a step done again that did not give what it gave the first time: ``step``, ``name`` and the two values,
``old`` and ``new``, of what was measured, and ``reason`` in words."""


EDIT = "edit"
"""The event of a change of the model's shape: ``edit`` names it, its arguments follow, ``reason`` tells it in words.
Part of what a replay repeats."""


class Operation(NamedTuple):
    """What to do to a run at a step: a change of a hyperparameter, one of `ACTIONS`, `SWITCH`, `TUNING` or `EDIT`."""

    step: int
    name: str
    value: Any
    source: str


class Journal(Sequence[Entry]):
    """Append-only sequence of entries; any thread may append and read.

    Attributes
    ----------
    sink : callable or None
        Stores an entry before the journal shows it. Returns a warning that is to follow it, or None; never raises.
    lock : threading.RLock
        Held while an entry is appended: taken when something changes, never in a step.

    Examples
    --------
    >>> run.step(3)
    >>> run.set(lr=0.01)
    >>> [(entry.step, entry.name, entry.old, entry.new) for entry in run.journal.changes()]
    [(3, 'lr', 0.001, 0.01)]
    """

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self.sink: Callable[[Entry], str | None] | None = None
        self.lock = threading.RLock()
        self._entries = list(entries)

    def change(self, step: int, name: str, old: Any, new: Any, source: str) -> Entry:
        """Append an applied change."""
        return self._append(Entry(step, name, old, new, source, time.time(), "change"))

    def event(self, step: int, name: str, detail: Any = None, source: str = "run") -> Entry:
        """Append an event."""
        return self._append(Entry(step, name, None, detail, source, time.time(), "event"))

    def rewind(self, step: int, to: int, source: str) -> Entry:
        """Append a return from ``step`` to the state before the changes made at ``to``."""
        return self._append(Entry(step, "rewind", step, to, source, time.time(), "event"))

    def changes(self) -> list[Entry]:
        """Return the applied changes, without the events."""
        return [entry for entry in self if entry.kind == "change"]

    def schedule(self) -> list[Operation]:
        """Return the operations that lead from the run's beginning to where it is, without what a rewind undid.

        A rewind to step n goes back to before the changes made at n.
        """
        return [Operation(entry.step, entry.name, entry.new, entry.source) for entry in self.effective()]

    def effective(self) -> list[Entry]:
        """Return the entries behind `schedule`."""
        kept: list[Entry] = []
        for entry in self:
            if entry.kind == "change" or entry.name in (*ACTIONS, SWITCH, TUNING, EDIT):
                kept.append(entry)
            elif entry.name == "rewind":
                kept = [earlier for earlier in kept if earlier.step < entry.new]
        return kept

    def to_pandas(self) -> Any:
        """Return a ``pandas.DataFrame`` with one row per entry and one column per field of `Entry`, times as UTC.

        Examples
        --------
        >>> run.set(lr=0.01)
        >>> run.journal.to_pandas()[["step", "name", "old", "new"]].values.tolist()
        [[0, 'lr', 0.001, 0.01]]
        """
        import pandas as pd

        frame = pd.DataFrame(list(self), columns=Entry._fields)
        frame["time"] = pd.to_datetime(frame["time"], unit="s", utc=True)
        return frame

    def take_over(self, other: Journal, step: int) -> None:
        """Begin with what led another run to ``step``."""
        self._entries = [entry for entry in other.effective() if entry.step < step]

    def load(self, entries: Iterable[Entry]) -> None:
        """Begin with the entries of a stored journal."""
        self._entries = list(entries)

    def _append(self, entry: Entry) -> Entry:
        # What anybody may have written, as the text of an exception, has to be stored, sent and shown.
        new = storable(entry.new) if isinstance(entry.new, str) else entry.new
        entry = entry._replace(new=new, source=storable(entry.source))
        with self.lock:
            warning = self.sink(entry) if self.sink is not None else None
            self._entries.append(entry)
            if warning is not None:
                self._entries.append(Entry(entry.step, "store_failed", None, warning, "run", time.time(), "event"))
        return entry

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> list[Entry]: ...
    def __getitem__(self, index: int | slice) -> Entry | list[Entry]:
        return self._entries[index]

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries[:])

    def __repr__(self) -> str:
        return f"Journal({len(self)} entries)"
