"""Doing steps again: those between a snapshot and the step that a run is to be at."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from nbopt.record.journal import Operation
from nbopt.record.snapshots import Snapshot
from nbopt.training.checkpoint import restore
from nbopt.training.state import RunState
from nbopt.training.training import Bound, Training

if TYPE_CHECKING:
    from nbopt.run.driver import Driver


def do_again(driver: Driver, operations: Iterable[Operation], target: int) -> None:
    """Do the steps up to ``target`` again, with changes journaled already, and journal where that ends if not there.

    A run that is not exact may run out of patience where it did not the first time, or of batches.
    """
    training, changes = driver.training, driver.changes
    assert training is not None
    changes.plan(operations, journaled=True)
    events = driver.make_events()
    training.tiers.held_until = target
    training.tiers.room = lambda: target - training.step
    try:
        while training.step < target or training.validation_due or changes.due():
            if next(events, None) is None:
                if training.step >= target or not changes.act("reopen", "run"):
                    break
                events = driver.make_events()
    finally:
        training.tiers.room = lambda: math.inf
    training.hands.leave()
    if training.step < target:
        driver.journal.rewind(target, training.step, "run")


def go_on_half_way(driver: Driver, training: Training) -> None:
    """Put the run back to a snapshot, and lead it by its journal to where it was, or was going."""
    journal = driver.journal
    bound = training.bound or Bound(training.step, len(journal))
    rewinds = [entry.new for entry in journal[bound.entries :] if entry.name == "rewind"]
    target = rewinds[-1] if rewinds else bound.step
    training.bound = Bound(target, len(journal))  # if this is interrupted, too
    snapshot = training.snapshots.before(min(target, training.history.measured))
    recorded = driver.exactness.record()
    _put(driver, training, snapshot)
    training.snapshots.forget_after(target)
    held = training.tiers.held_until
    driver.exactness.expect(recorded, target)
    do_again(driver, (op for op in journal.schedule() if op.step >= snapshot.step), target)
    training.tiers.held_until = max(held, target)
    training.bound = None
    journal.event(target, "redone", snapshot.step)


def give_up(driver: Driver, snapshot: Snapshot) -> None:
    """Have the run rest at a snapshot, from which it can be led no further: what it did there fails now."""
    training = driver.training
    assert training is not None
    with driver.lock:
        step = training.bound.step if training.bound is not None else training.step
        training.bound = Bound(snapshot.step, len(driver.journal))
        _put(driver, training, snapshot)
        training.snapshots.forget_after(snapshot.step)
        driver.journal.rewind(max(step, snapshot.step), snapshot.step, "run")
        training.bound = None
        driver.become(RunState.PAUSED)


def _put(driver: Driver, training: Training, snapshot: Snapshot) -> None:
    restore(training, snapshot)
    training.half_done = False
    training.history.go_back(snapshot.step, validated=not snapshot.facts["validation_due"])
    driver.changes.forget_journaled()
