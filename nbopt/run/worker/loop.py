"""The loop of a run as those need it who lead the run somewhere: its events, and steps done again."""

from __future__ import annotations

import math
import sys
from collections.abc import Generator, Iterable
from contextlib import suppress
from inspect import GEN_RUNNING, getgeneratorstate
from types import FrameType

from nbopt.record.journal import Operation
from nbopt.record.snapshots import Snapshot
from nbopt.run.exactness.exactness import Exactness
from nbopt.run.session.session import Session
from nbopt.run.session.work import Work
from nbopt.training import loop
from nbopt.training.snapshots.recovery import Recovery
from nbopt.training.snapshots.restoring import restore
from nbopt.training.state import Bound, Event, RunState
from nbopt.training.training import Training


class Loop:
    """The events of a run that has begun, and doing those steps again that lie between a snapshot and a step.

    Parameters
    ----------
    session : Session
    training : Training
    exactness : Exactness
        Told what is expected of steps done again.
    """

    def __init__(self, session: Session, training: Training, exactness: Exactness) -> None:
        self.training = training
        self._session = session
        self._exactness = exactness
        self._recover = Recovery(training, session.changes, session.journal)
        self._events: Generator[Event, None, None] | None = None  # those last made

    def requests(self) -> loop.Requests:
        """Return the events from where the run is, for whoever pulls them and does the steps."""
        self.training.go_on()
        return loop.requests(self.training, self._session.changes, self._recover)

    def events(self, limit: loop.Limit | None = None) -> Generator[Event, None, None]:
        """Return the events from where the run is, for whoever pulls them; steps are done as the run does them."""
        self._events = loop.pull(self.requests(), self.training.train_step, limit)
        return self._events

    def take_by_hand(self) -> None:
        """Have the journal and a snapshot hold what was changed by hand in a rest, for whoever opens the run again."""
        if self.is_running:  # the caller is called by a step, as a metric is
            return
        with suppress(ValueError):  # what nobody can go on with is told where it is gone on with
            self.training.go_on()
            if self._session.changes.tune() and self._session.recorder is not None:
                self._session.recorder.update(now=True)  # steps done again do not lead there
        self.training.hands.leave()

    @property
    def is_running(self) -> bool:
        """Whether somebody is pulling an event at this moment."""
        return self._events is not None and getgeneratorstate(self._events) == GEN_RUNNING

    @property
    def is_above(self) -> bool:
        """Whether the caller is called by an event that is being pulled, as a metric of the user's is."""
        pulled = getattr(self._events, "gi_frame", None)  # typing knows generators without it
        frame: FrameType | None = sys._getframe()
        while frame is not None and frame is not pulled:
            frame = frame.f_back
        return frame is not None

    def do_again(self, operations: Iterable[Operation], target: int, work: Work | None = None) -> None:
        """Do the steps up to ``target`` again, with changes journaled already; journal where that ends, if not there.

        A run that is not exact may run out of patience where it did not the first time, or of batches; and somebody may
        stop the ``work``, which is told of each step.
        """
        training, changes = self.training, self._session.changes
        changes.plan(operations, journaled=True)
        events, first = self.events(), training.step
        training.tiers.held_until = target
        training.tiers.room = lambda: target - training.step
        try:
            while training.step < target or training.validation_due or changes.due():
                if work is not None:
                    work.note(training.step - first, target - first)
                    if work.is_stopped and not (training.validation_due or training.trouble or changes.due()):
                        break
                if next(events, None) is None:
                    if training.step >= target or not changes.act("reopen", "run"):
                        break
                    events = self.events()
        finally:
            training.tiers.room = lambda: math.inf
        training.hands.leave()
        if training.step < target:
            self._session.journal.rewind(target, training.step, "run")

    def catch_up(self, snapshot: Snapshot, target: int, work: Work | None = None) -> None:
        """Do the steps from ``snapshot`` to ``target`` again, with the changes journaled in between."""
        schedule = self._session.journal.schedule()
        self.do_again([operation for operation in schedule if snapshot.step <= operation.step < target], target, work)

    def put_right(self) -> None:
        """Put a run that is half-way back to a snapshot, and lead it by its journal to where it was, or was going."""
        training, journal = self.training, self._session.journal
        if not training.is_half_way:
            return
        bound = training.bound or Bound(training.step, len(journal))
        rewinds = [entry.new for entry in journal[bound.entries :] if entry.name == "rewind"]
        target = rewinds[-1] if rewinds else bound.step
        training.bound = Bound(target, len(journal))  # if this is interrupted, too
        snapshot = training.snapshots.before(min(target, training.history.measured))
        recorded = self._exactness.record()
        self._put(snapshot)
        training.snapshots.forget_after(target)
        held = training.tiers.held_until
        self._exactness.expect(recorded, target)
        self.do_again((op for op in journal.schedule() if op.step >= snapshot.step), target)
        training.tiers.held_until = max(held, target)
        training.bound = None
        journal.event(target, "redone", snapshot.step)

    def give_up(self, snapshot: Snapshot) -> None:
        """Have the run rest at a snapshot, from which it can be led no further: what it did there fails now."""
        training, session = self.training, self._session
        with session.lock:
            step = training.bound.step if training.bound is not None else training.step
            training.bound = Bound(snapshot.step, len(session.journal))
            self._put(snapshot)
            training.snapshots.forget_after(snapshot.step)
            session.journal.rewind(max(step, snapshot.step), snapshot.step, "run")
            training.bound = None
            session.become(RunState.PAUSED)

    def _put(self, snapshot: Snapshot) -> None:
        restore(self.training, snapshot)
        self.training.half_done = False
        self.training.history.go_back(snapshot.step, validated=not snapshot.facts["validation_due"])
        self._session.changes.forget_journaled()
