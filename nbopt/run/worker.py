"""The thread that pulls a run's events: how far it goes, and how it comes to rest."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import torch

from nbopt.data.sources import DatasetSource
from nbopt.data.thread_generator import switch
from nbopt.errors import tell_error
from nbopt.i18n import _
from nbopt.record.journal import Journal
from nbopt.run.exactness import Exactness
from nbopt.run.progress import ProgressLine
from nbopt.training.changes import ChangeQueue
from nbopt.training.state import Changed, Ending, Event, Finished, Recovered, RunState, Stepped
from nbopt.training.training import Training


class Puller:
    """Pulls events until the run is to rest, and knows the run's state.

    Parameters
    ----------
    changes : Changes
    journal : Journal

    Attributes
    ----------
    state : RunState
    error : BaseException or None
        What ended the run.
    end_reason : str
        Why it ended, in words.
    training : Training or None
        The run's material, once there is one.
    until : Ending
        Where a replay is to end.
    exactness : Exactness
        Whether steps done again give what they gave.
    watchers : list of callable
        Who is called whenever state or journal changed.
    lock : threading.RLock
        Guards state and the hand-over between threads; never taken in a step.
    """

    def __init__(self, changes: ChangeQueue, journal: Journal) -> None:
        self.state = RunState.CREATED
        self.error: BaseException | None = None
        self.end_reason = ""
        self.training: Training | None = None
        self.until = Ending(math.inf, RunState.STOPPED, "")
        self.watchers: list[Callable[[], None]] = []
        self.lock = threading.RLock()
        self._moved = threading.Condition(self.lock)
        self.changes = changes
        self.journal = journal
        self.exactness = Exactness(journal)
        self._thread: threading.Thread | None = None  # who pulls; None while nobody does
        self._credit = math.inf  # steps to do before pausing
        self._goal = RunState.RUNNING  # what the puller is asked to become
        self._asked_by = "run"
        self._halted = False
        self._begun = False  # whether the puller has done its first step

    def _pull(self, events: Iterator[Event], progress: ProgressLine | None = None) -> None:
        """Pull events until the run is to rest."""
        training = self.training
        assert training is not None
        try:
            # A thread takes its share of cores at the first sign only: without this, oneDNN adds up in another order
            # here than where the same steps are done again, in the thread of whoever rewinds.
            torch.set_num_threads(torch.get_num_threads())
            training.meter.tick(running=True)
            training.tiers.room = self._room
            for event in events:
                kind = type(event)
                if isinstance(event, Stepped):
                    self._credit -= event.steps
                    if not self._begun:
                        self._begun = True
                        self.announce()
                elif kind is Changed or kind is Recovered:
                    self.announce()
                if progress is not None:
                    progress.update()
                if (
                    self._credit <= 0
                    or self._goal is not RunState.RUNNING
                    or kind is Finished
                    or training.step >= self.until.step
                ):
                    with self.lock:
                        if self._is_due(event):
                            self._settle(event)
                            break
        except Exception as error:
            if progress is None:
                _explain_thread(error)
            with self.lock:
                with suppress(Exception):  # the first error is the one to tell
                    training.flush()
                    self.changes.apply()
                self._fail(error)
                self._leave()
        except BaseException:  # Ctrl-C in fit
            switch(None)  # from within a block of the thread's own noise
            with self.lock:
                if self._thread is threading.current_thread():
                    self._leave()
                    self.put_right()
            raise
        finally:
            if progress is not None:
                progress.close()

    def put_right(self) -> None:
        """Put right what an interrupt left half-way."""
        raise NotImplementedError

    def _room(self) -> float:
        """Return how many steps may be done before this looks at what happened."""
        assert self.training is not None
        return min(self._credit, self.until.step - self.training.step)

    def _is_due(self, event: Event) -> bool:
        """Whether the run is to rest now; asked under the lock, so that no request slips in between."""
        training = self.training
        assert training is not None
        if isinstance(event, Finished) or self._goal is RunState.STOPPED or self._halted:
            return True
        if training.step < self.until.step and self._credit > 0 and self._goal is RunState.RUNNING:
            return False
        training.flush()
        # What belongs to this boundary is seen through first; and where nothing is left to do, the run finishes.
        done = not training.validation_due and training.trouble is None and not self.changes.due()
        return done and (training.step >= self.until.step or not training.end_reason())

    def _settle(self, event: Event | None) -> None:
        """Bring the run to rest after ``event``: finished, stopped or paused."""
        training = self.training
        assert training is not None
        training.flush()
        if not training.validation_due:
            self.changes.apply()  # nothing that was asked for is left behind
        if isinstance(event, Finished):
            if any(restores() for restores in training.acting.restores_best):
                self.changes.act("restore_best", "run")
            self.become(RunState.FINISHED, event.reason)
        elif self._goal is RunState.STOPPED:
            self.become(RunState.STOPPED, _("stopped by hand"), self._asked_by)
        elif training.step >= self.until.step:
            self.become(self.until.state, self.until.reason)
            self.until = Ending(math.inf, RunState.STOPPED, "")
        else:
            self.journal.event(training.step, "pause", source=self._asked_by)
            self.become(RunState.PAUSED)
        self._leave()

    def _leave(self) -> None:
        """Pull no more."""
        assert self.training is not None
        self.training.meter.tick(running=False)
        self.training.hands.leave()
        self.training.tiers.room = lambda: math.inf
        self._thread = None
        self.announce()

    def _fail(self, error: Exception) -> None:
        self.error = error
        self.become(RunState.FAILED, tell_error(error))

    def become(self, state: RunState, reason: str = "", source: str = "run") -> None:
        """Enter a state; with a reason, journal it."""
        with self.lock:
            self.state = state
            self.end_reason = reason
            if state.is_ended:
                self._stop_workers()
            if reason:
                self.journal.event(self.changes.step, state.value, reason, source)
            self.announce()

    def _stop_workers(self) -> None:
        if self.training is None:
            return
        for source in (self.training.cursor.source, self.training.val):
            if isinstance(source, DatasetSource) and source.workers is not None:
                source.workers.stop()

    def announce(self) -> None:
        """Wake who waits or watches."""
        with self.lock:
            self._moved.notify_all()
        for wake in list(self.watchers):
            wake()


def _explain_thread(error: Exception) -> None:
    """Say in an error that speaks of threads in which one it was raised: the user made none."""
    if "thread" in str(error).lower():
        error.add_note(
            _(
                "nbopt: a run that is started trains in a thread of its own. run.fit() trains in the caller's thread; "
                "or open what belongs to one thread, as a database connection, where the samples are fetched."
            )
        )
