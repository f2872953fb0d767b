"""What connects a session with the recorder that keeps it in the store."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from nbopt.run.session.session import Session
from nbopt.store.database import RunRecord, folder_of
from nbopt.store.recorder import Recorder
from nbopt.store.snapshot_files import Glance

AnySession = TypeVar("AnySession", bound=Session)


def make_recorder(session: AnySession, folder: Path, describe: Callable[[AnySession], RunRecord]) -> Recorder:
    """Return a recorder for ``session``. It outlives that, to write what is left; so it does not hold it."""
    ref = weakref.ref(session)

    def made() -> RunRecord | None:
        return None if (session := ref()) is None else describe(session)

    def look() -> Glance | None:
        return None if (session := ref()) is None else _glance(session)

    recorder = Recorder(folder, session.journal, session.history, made, look)
    weakref.finalize(session, recorder.close).atexit = False
    return recorder


def tell_opening(number: str, folder: Path, split: bool) -> str:
    """Return the code that opens a run again; with ``split``, it was given no validation data but a share or none."""
    val = "" if split else ", val=(X_val, y_val)"
    store = "" if folder == folder_of() else f", store={str(folder)!r}"
    return f'run = nbopt.open("{number}", model, train=(X, y){val}{store})'


def _glance(session: Session) -> Glance:
    stage = session.stage
    best = math.inf if stage.judge is None else stage.judge.best
    return Glance(stage.step, stage.epoch, best if math.isfinite(best) else None, stage.snapshots)
