"""Checkpoints: where a trial's run is, as a value that goes from one process to another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbopt.record.column import as_array
from nbopt.record.history import History
from nbopt.record.journal import Entry
from nbopt.record.snapshots import Snapshot
from nbopt.run.run import Run
from nbopt.training.snapshots.checkpoint import capture
from nbopt.training.snapshots.restoring import restore
from nbopt.training.state import RunState

Columns = Mapping[str, tuple[NDArray[np.int64], NDArray[np.float64]]]


class Checkpoint(NamedTuple):
    """All that another process needs to go on with a trial, beside its values.

    Attributes
    ----------
    found : sequence of tuple
        The objectives of the parts that have ended.
    steps : int
        Steps of these.
    validations : int
        Of the part that is under way.
    changes : int
        How many changes made by hand it has.
    snapshot : Snapshot or None
        Where the run of that part is; None where it has none.
    journal : sequence of Entry
        Of that run.
    history : mapping of str to (steps, values)
        What it has measured.
    """

    found: Sequence[tuple[float, ...]] = ()
    steps: int = 0
    validations: int = 0
    changes: int = 0
    snapshot: Snapshot | None = None
    journal: Sequence[Entry] = ()
    history: Mapping[str, tuple[NDArray[np.int64], NDArray[np.float64]]] = {}


def can_capture(run: Run) -> bool:
    """Whether a run, between two of its events, is where it can be taken up."""
    return not run.training.half_done and run.training.trouble is None and not run.changes.due()


def snapshot_of(run: Run) -> Snapshot:
    """Return where a run is whose events are pulled here, between two of them."""
    run.stage.flush()
    snapshot = capture(run.training)
    # A view would take all of its memory along.
    own = {
        name: tensor.clone() if tensor.untyped_storage().nbytes() > tensor.nbytes else tensor
        for name, tensor in snapshot.tensors.items()
    }
    return snapshot._replace(tensors=own)


def continue_from(run: Run, checkpoint: Checkpoint) -> None:
    """Put a new run, made as that of the checkpoint was, to where that one is, with its journal and its past."""
    snapshot = checkpoint.snapshot
    if snapshot is None:
        return
    past = History()
    for name, (steps, values) in checkpoint.history.items():
        past.extend(name, steps, values)
    training = run.training
    run.journal.load(checkpoint.journal)
    run.history.take_over(past, snapshot.step, not snapshot.facts["validation_due"])
    if snapshot.step:
        training.snapshots.add(snapshot)
    restore(training, snapshot)
    training.snapshots.best_step = training.judge.best_step
    run.become(RunState.PAUSED)


class Trained:
    """What another process trained, of a trial that has ended or goes on there: enough to read, and to take out.

    Attributes
    ----------
    history : History
        All that its present run has measured, as far as it was told.
    step_count : int
    checkpoint : Checkpoint
    """

    def __init__(self) -> None:
        self.step_count = 0
        self.checkpoint = Checkpoint()
        self._columns: dict[str, tuple[list[int], list[float]]] = {}

    def take(self, step: int, news: Mapping[str, tuple[int, Any, Any]] | None) -> None:
        """Take in what was measured: of each name, how much of what is known stays, and what follows.

        None: it is of another run from now on.
        """
        self.step_count = step
        if news is None:
            self._columns.clear()
            return
        for name, (start, steps, values) in news.items():
            known = self._columns.setdefault(name, ([], []))
            known[0][start:] = steps.tolist()
            known[1][start:] = values.tolist()

    @property
    def columns(self) -> Columns:
        """All of it, as a checkpoint has it."""
        found = {}
        for name, (steps, values) in list(self._columns.items()):
            count = min(len(steps), len(values))  # another thread may be taking in more
            found[name] = (np.array(steps[:count], np.int64), np.array(values[:count], np.float64))
        return found

    @property
    def history(self) -> History:
        """What was measured."""
        found = History()
        for name, (steps, values) in self.columns.items():
            found.extend(name, steps, values)
        return found


def news_of(delta: Any) -> dict[str, tuple[int, Any, Any]]:
    """Return what `Trained.take` takes, of what `nbopt.store.sync.SyncState.compare` returned."""
    empty = (np.empty(0, np.int64), np.empty(0))
    found = {}
    for name, start in delta.starts.items():
        steps, values = delta.columns.get(name, empty)
        found[name] = (start, np.array(as_array(steps[start:])), np.array(values[start:]))
    return found
