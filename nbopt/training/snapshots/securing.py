"""When snapshots are taken: on the way, and before changes, within a share of the training's time."""

from __future__ import annotations

import time

from nbopt.training.core import Core
from nbopt.training.snapshots.blocks import keep_ready
from nbopt.training.snapshots.checkpoint import capture

SECONDS = 1.0  # between two snapshots taken on the way
SHARE = 0.02  # ... of which taking one may take this part
_READY = 0.1  # of the time that a copy takes in memory new to the process, it takes in memory that was made ready
_NEW_BYTES = 2**20  # of a snapshot, below which memory costs nothing
_CHEAP_BYTES = 32 * 2**20  # a snapshot that is no larger is taken before each change


class Securing:
    """Takes a run's snapshots.

    Parameters
    ----------
    training : Core

    Attributes
    ----------
    share : float
        The part of the training's time that snapshots on the way may take.
    keeps_best : bool
        Whether one is taken of the best weights so far.
    is_on : bool
        Whether any are taken.
    """

    def __init__(self, training: Core) -> None:
        self.share = SHARE
        self.keeps_best = self.is_on = True
        self._training = training
        self._due = 0.0
        self._spent = 0.0  # seconds that the last one took, or the next one should
        self._size = 0  # bytes of the largest

    def take(self) -> None:
        """Take a snapshot of where the run is, unless there is one, or the state is half of one."""
        training = self._training
        if training.half_done or not self.is_on:
            return
        if training.meter.waiting:
            training.flush()
        newest = training.snapshots[-1] if training.snapshots else None
        if newest is not None and newest.step == training.step:
            if newest.facts["validation_due"] == training.validation_due:
                return
        start = time.perf_counter()
        snapshot = capture(training)
        training.snapshots.add(snapshot)
        keep_ready(snapshot.tensors.values())
        now = time.perf_counter()
        self._spent = now - start
        if (size := sum(tensor.nbytes for tensor in snapshot.tensors.values())) > self._size:  # not to be had again
            self._size = size
            if size >= _NEW_BYTES:
                self._spent *= _READY
        if training.step:  # the first step's losses are worth one, too: the guard has nothing to compare with before
            self._due = now + max(SECONDS, self._spent / self.share)

    def share_among(self, share: float) -> None:
        """Take them on the way within this part of the time, also the first of them, and none of the best weights."""
        self.share, self.keeps_best = share, False
        self._due = time.perf_counter() + self._spent / share

    def take_best(self) -> None:
        """Take one of weights that are the best so far."""
        if self.keeps_best:
            self._training.snapshots.add(capture(self._training), best=True)

    def take_if_due(self) -> None:
        """Take one on the way, if the last is long enough ago."""
        if time.perf_counter() >= self._due:
            self.take()

    def take_before_change(self) -> None:
        """Take one to go back to what was before a change; of a large model, where the last is long enough ago.

        Going back there then does some steps again.
        """
        if self._size <= _CHEAP_BYTES:
            self.take()
        else:
            self.take_if_due()
