"""The runs of this process. Light: whoever lists them need not have torch loaded."""

from __future__ import annotations

import atexit
import itertools
import threading
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbopt.run.session.session import Session

_LAST_STEP_SECONDS = 5.0  # how long the end of the process waits for a step to end

_live: weakref.WeakKeyDictionary[Session, int] = weakref.WeakKeyDictionary()  # by when they came
_count = itertools.count()
_lock = threading.Lock()


def enter(run: Session) -> None:
    """Take note of a new run, for as long as somebody holds it."""
    with _lock:
        _live[run] = next(_count)


def live_runs() -> list[Session]:
    """Return the runs of this process, oldest first; one that was opened again comes after itself."""
    with _lock:
        return sorted(_live, key=lambda run: (run.created, _live[run]))


@atexit.register
def _halt_all() -> None:
    for run in live_runs():
        run.halt(_LAST_STEP_SECONDS)
