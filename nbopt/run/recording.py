"""What connects a run with the recorder that keeps it in the store."""

from __future__ import annotations

import math
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

from nbopt.run.fingerprint import describe
from nbopt.store.database import RunRecord
from nbopt.store.recorder import Recorder
from nbopt.store.snapshot_files import Glance

if TYPE_CHECKING:
    from nbopt.run.run import Run


def make_recorder(run: Run, folder: Path) -> Recorder:
    """Return a recorder for ``run``. It outlives the run, to write what is left; so it does not hold it."""
    ref = weakref.ref(run)

    def made() -> RunRecord | None:
        return None if (run := ref()) is None else describe(run)

    def look() -> Glance | None:
        return None if (run := ref()) is None else _glance(run)

    recorder = Recorder(folder, run.journal, run.history, made, look)
    weakref.finalize(run, recorder.close).atexit = False
    return recorder


def _glance(run: Run) -> Glance:
    training = run.driver.training
    if training is None:
        return Glance(0, 0, None, None)
    best = training.judge.best
    return Glance(training.step, training.cursor.epoch, best if math.isfinite(best) else None, training.snapshots)
