"""Changes made by hand in a panel, of which the last can be undone."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

from nbopt.formatting import number
from nbopt.i18n import _
from nbopt.notebook.panel.verbs import SOURCE
from nbopt.run.session.steerable import Steerable

UNDO = "undo"
"""Who asks where a change is undone."""

_MOST = 100


class _Change(NamedTuple):
    before: Mapping[str, Any]
    after: Mapping[str, Any]


class ByHand:
    """Asks a run for what a person wants, and for what was before.

    Parameters
    ----------
    run : Steerable
    """

    def __init__(self, run: Steerable) -> None:
        self._run = run
        self._done: deque[_Change] = deque(maxlen=_MOST)
        self._lock = threading.RLock()  # messages arrive on several threads

    def set(self, **changes: Any) -> dict[str, tuple[Any, Any]]:
        """Ask for new values; return what they change, as old and new value by name."""
        with self._lock:
            before = {name: self._now(name) for name in changes}
            self._run.set(source=SOURCE, **changes)
            after = self._run.hyperparams.check(changes)
            changed = {name: (before[name], value) for name, value in after.items() if before[name] != value}
            if changed:
                old, new = ({name: pair[k] for name, pair in changed.items()} for k in (0, 1))
                self._done.append(_Change(old, new))
            return changed

    def undo(self) -> None:
        """Ask for what was before the last change by hand that is in force.

        Raises
        ------
        ValueError
            If there is none.
        """
        with self._lock:
            if (last := self._last()) is None:
                raise ValueError(_("Nothing to undo: none of the changes made here by hand is in force any more."))
            self._run.set(source=UNDO, **last)
            self._done.pop()

    @property
    def undoable(self) -> str:
        """What `undo` does, in words; "" where there is nothing to undo."""
        with self._lock:
            last = self._last() or {}
        lines = [
            _("{label} back to {value}", label=self._run.hyperparams.label(name), value=number(value))
            for name, value in last.items()
        ]
        return ", ".join(lines)

    def _last(self) -> dict[str, Any] | None:
        """Return the values to go back to; changes of which others or a rewind left nothing are forgotten."""
        while self._done:
            before, after = self._done[-1]
            if back := {name: before[name] for name, value in after.items() if self._now(name) == value}:
                return back
            self._done.pop()
        return None

    def _now(self, name: str) -> Any:
        """Return the value of ``name``: that which was asked for here last, while it does not act yet."""
        if name in self._run.pending:
            asked = (change.after[name] for change in reversed(self._done) if name in change.after)
            return next(asked, self._run.hyperparams[name])
        return self._run.hyperparams[name]
