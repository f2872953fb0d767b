"""The runs of this process. Light: whoever lists them need not have torch loaded."""

from __future__ import annotations

import atexit
import threading
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbopt.run.session.session import Session

_LAST_STEP_SECONDS = 5.0  # how long the end of the process waits for a step to end

_live: weakref.WeakSet[Session] = weakref.WeakSet()
_lock = threading.Lock()


def enter(run: Session) -> None:
    """Take note of a new run, for as long as somebody holds it."""
    with _lock:
        _live.add(run)


def live_runs() -> list[Session]:
    """Return the runs of this process, oldest first."""
    with _lock:
        return sorted(_live, key=lambda run: run.created)


@atexit.register
def _halt_all() -> None:
    for run in live_runs():
        run.halt(_LAST_STEP_SECONDS)
