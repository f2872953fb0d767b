"""What the thread that pulls a run's events does: how far it goes, and how it comes to rest."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Collection, Iterator
from contextlib import suppress
from types import FrameType
from typing import Any

import torch

from nbopt.data.thread_generator import switch
from nbopt.errors import tell_error
from nbopt.i18n import _
from nbopt.run.session.session import Session
from nbopt.run.worker.progress import ProgressLine
from nbopt.run.worker.speed_limit import SpeedLimit
from nbopt.training.state import Changed, Ending, Event, Finished, Recovered, RunState, Stepped
from nbopt.training.training import Training


class Pulling:
    """Pulls events until the run is to rest.

    Parameters
    ----------
    session : Session
    until : Ending
        Where it is to rest in any case.

    Attributes
    ----------
    thread : threading.Thread or None
        Who pulls; None while nobody does.
    credit : float
        Steps to do before pausing.
    goal : RunState
        What the run is asked to become.
    asked_by : str
        By whom, for the journal.
    halted : bool
        Whether it is to rest at the very next event.
    begun : bool
        Whether the first step since it set out is done.
    limit : SpeedLimit
        How many steps a second are done at most, unless they were asked for by their number.
    """

    def __init__(self, session: Session, until: Ending) -> None:
        self.thread: threading.Thread | None = None
        self.credit = math.inf
        self.goal = RunState.RUNNING
        self.asked_by = "run"
        self.halted = False
        self.begun = False
        self._session = session
        self.until = until
        self._visits: Collection[Any] = ()
        self.limit = SpeedLimit(session, lambda: self.credit == math.inf, self._is_called)

    def pull(self, training: Training, events: Iterator[Event], progress: ProgressLine | None = None) -> None:
        """Pull events until the run is to rest."""
        session = self._session
        try:
            # A thread takes its share of cores at the first sign only: without this, oneDNN adds up in another order
            # here than where the same steps are done again, in the thread of whoever rewinds.
            torch.set_num_threads(torch.get_num_threads())
            training.meter.tick(running=True)
            self._visits = training.visits
            self.limit.begin()
            training.tiers.room = lambda: 0 if self.limit.holds else min(self.credit, self.until.step - training.step)
            for event in events:
                kind = type(event)
                if isinstance(event, Stepped):
                    self.credit -= event.steps
                    if not self.begun:
                        self.begun = True
                        session.announce()
                elif kind is Changed or kind is Recovered:
                    session.announce()
                if progress is not None:
                    progress.update()
                if (
                    self.credit <= 0
                    or self.goal is not RunState.RUNNING
                    or kind is Finished
                    or training.step >= self.until.step
                ):
                    with session.lock:
                        if self._is_due(training, event):
                            self._settle(training, event)
                            break
        except Exception as error:
            if progress is None:
                _explain_thread(error)
            with session.lock:
                with suppress(Exception):  # the first error is the one to tell
                    training.flush()
                    session.changes.apply()
                self.fail(error)
                self._leave(training)
        except BaseException:  # Ctrl-C in fit
            switch(None)  # from within a block of the thread's own noise
            with session.lock:
                if self.thread is threading.current_thread():
                    self._leave(training)
            raise
        finally:
            if progress is not None:
                progress.close()

    def _is_called(self) -> bool:
        """Whether something is to be looked at before the next step; asked under the lock."""
        called = self.goal is not RunState.RUNNING or self.halted or self._session.changes.due()
        return called or bool(self._visits)

    def _is_due(self, training: Training, event: Event) -> bool:
        """Whether the run is to rest now; asked under the lock, so that no request slips in between."""
        if isinstance(event, Finished) or self.goal is RunState.STOPPED or self.halted:
            return True
        if training.step < self.until.step and self.credit > 0 and self.goal is RunState.RUNNING:
            return False
        training.flush()
        # What belongs to this boundary is seen through first; and where nothing is left to do, the run finishes.
        done = not training.validation_due and training.trouble is None and not self._session.changes.due()
        return done and (training.step >= self.until.step or not training.end_reason())

    def _settle(self, training: Training, event: Event | None) -> None:
        """Bring the run to rest after ``event``: finished, stopped or paused."""
        session = self._session
        training.flush()
        if not training.validation_due:
            session.changes.apply()  # nothing that was asked for is left behind
        if isinstance(event, Finished):
            if any(restores() for restores in training.acting.restores_best):
                session.changes.act("restore_best", "run")
            session.become(RunState.FINISHED, event.reason)
        elif self.goal is RunState.STOPPED:
            session.become(RunState.STOPPED, _("stopped by hand"), self.asked_by)
        elif training.step >= self.until.step:
            session.become(self.until.state, self.until.reason)
            self.until = Ending(math.inf, RunState.STOPPED, "")
        else:
            session.journal.event(training.step, "pause", source=self.asked_by)
            session.become(RunState.PAUSED)
        self._leave(training)

    def _leave(self, training: Training) -> None:
        """Pull no more."""
        training.meter.tick(running=False)
        training.hands.leave()
        training.tiers.room = lambda: math.inf
        self.thread = None
        self._session.announce()

    def fail(self, error: Exception) -> None:
        """Have the run fail."""
        self._session.error = error
        self._session.become(RunState.FAILED, tell_error(error))


def is_gone(thread: threading.Thread) -> bool:
    """Return whether an interrupt has taken a thread out of its pulling without a word."""
    if thread is not threading.current_thread():
        return not thread.is_alive()
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code is not Pulling.pull.__code__:
        frame = frame.f_back
    return frame is None


def _explain_thread(error: Exception) -> None:
    """Say in an error that speaks of threads in which one it was raised: the user made none."""
    if "thread" in str(error).lower():
        error.add_note(
            _(
                "nbopt: a run that is started trains in a thread of its own. run.fit() trains in the caller's thread; "
                "or open what belongs to one thread, as a database connection, where the samples are fetched."
            )
        )
