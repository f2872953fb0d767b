"""The worker of a run has its events pulled, in a thread of its own or the caller's: what any thread asks of it."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar

from nbopt.errors import check_text
from nbopt.i18n import _
from nbopt.run.exactness.exactness import Exactness
from nbopt.run.session.session import Session
from nbopt.run.worker.interrupts import Deferred
from nbopt.run.worker.loop import Loop
from nbopt.run.worker.progress import ProgressLine
from nbopt.run.worker.pulling import Pulling, is_gone
from nbopt.run.worker.speed_limit import SpeedLimit
from nbopt.run.worker.threads import check_modes, thread_from_here
from nbopt.training.begun import Begun
from nbopt.training.loop import Limit
from nbopt.training.state import Ending, Event, RunState
from nbopt.training.training import Training

T = TypeVar("T")

_VISIT_SECONDS = 0.1  # between two looks whether a run that is waited for came to rest


class Worker:
    """Starts, pauses and ends the pulling. All public methods may be called from any thread.

    Parameters
    ----------
    session : Session
        What trains.
    make : callable
        Makes the training, before the first event.
    until : Ending, optional
        Where the run is to rest in any case.

    Attributes
    ----------
    exactness : Exactness
        Whether steps done again give what they gave.
    """

    def __init__(self, session: Session, make: Callable[[], Training], until: Ending | None = None) -> None:
        self.exactness = Exactness(session.journal)
        self._session = session
        self._make = make
        self._pulling = Pulling(session, until or Ending(math.inf, RunState.STOPPED, ""))
        self._loop: Loop | None = None

    # -- the loop

    @property
    def ends_at(self) -> float:
        """The step where the run is to rest in any case; infinite for none."""
        return self._pulling.until.step

    @property
    def has_begun(self) -> bool:
        """Whether the data are known, and there is a training."""
        return self._loop is not None

    @property
    def loop(self) -> Loop:
        """The run's loop; made, with its training, on first asking."""
        if self._loop is not None:
            return self._loop
        with self._session.lock:
            if self._loop is None:
                training, session = self._make(), self._session
                training.proposals.planned = session.changes.steps_to_plan
                training.tiers.planned = training.proposals.steps_ahead
                training.pass_.tell = session.tell
                self.exactness.begin(training)
                loop = Loop(session, training, self.exactness)
                session.changes.stage = Begun(training)
                self._loop = loop  # last: now all of it is there
            return self._loop

    @property
    def training(self) -> Training:
        """What the run trains with; made on first asking."""
        return self.loop.training

    @property
    def limit(self) -> SpeedLimit:
        """How many steps a second are done at most."""
        return self._pulling.limit

    def events(self, limit: Limit | None = None) -> Generator[Event, None, None]:
        """Return the loop's events, for whoever pulls them."""
        with self._session.lock:
            self.put_right()
            if self._pulling.thread is not None:
                raise RuntimeError(_("the run trains in a thread of its own: pause it before pulling its events."))
            return self.loop.events(limit)

    def put_right(self) -> None:
        """Bring a run that an interrupt left half-way to where its journal says it is; else do nothing.

        Whoever asks something of a run at rest calls this first: an exception may fall between any two instructions,
        and another one while this puts right what the first left.
        """
        session, pulling = self._session, self._pulling
        with session.lock:
            if pulling.thread is not None and is_gone(pulling.thread):
                pulling.thread = None
            if self._is_busy():
                return
            if self._loop is not None:
                self._loop.put_right()
            if session.state is RunState.RUNNING:  # nobody pulls any more
                session.stage.flush()
                if not session.stage.validation_due:
                    session.changes.apply()
                session.journal.event(session.step_count, "pause", source=pulling.asked_by)
                session.become(RunState.PAUSED)

    def between_steps(self, act: Callable[[], T]) -> T:
        """Return what ``act`` returns, called between two steps: by the thread that trains, or here if none does."""
        visit: Future[T] = Future()
        training, session = self.training, self._session
        with session.lock:
            self.put_right()
            if self._is_busy() and not self.is_own_thread:
                visit.add_done_callback(lambda _visit: session.announce())
                training.visits.append((act, visit))
                session.moved.notify_all()  # a run that is held back
                while not session.moved.wait_for(visit.done, _VISIT_SECONDS):
                    if not self._is_busy() and (act, visit) in training.visits:  # it came to rest first
                        training.visits.remove((act, visit))
                        return act()
                return visit.result()
            return act()

    def ask(self, changes: dict[str, Any], source: str) -> None:
        """Queue changes; where nobody pulls, the run is at rest between two steps, and they are applied here."""
        session = self._session
        with session.lock:
            self.put_right()
            session.changes.ask(changes, source)
            # A validation that is due comes first, as in the loop.
            if not self._is_busy() and not session.stage.validation_due:
                session.changes.apply_at_rest()
            session.announce()

    def go(self, credit: float, source: str, progress: ProgressLine | None = None) -> None:
        """Pull ``credit`` steps in a new thread; with a progress line, in this one."""
        check_text("source", source)
        try:
            events = self._set_out(credit, source, progress is None)
            if events is not None and progress is not None:
                with Deferred(self._ask_for_pause):
                    self._pulling.pull(self.training, events, progress)
        except BaseException:
            self.put_right()
            raise

    def _pull(self, events: Iterator[Event]) -> None:
        try:  # in a thread of its own
            self._pulling.pull(self.training, events)
        except BaseException:
            self.put_right()
            raise

    def _events_or_failure(self) -> Generator[Event, None, None]:
        try:
            return self.events(self.limit)
        except Exception as error:
            self._pulling.fail(error)
            raise

    def _set_out(self, credit: float, source: str, threaded: bool) -> Iterator[Event] | None:
        """Begin to pull, in a new thread or this one; return the events, None if somebody pulls them already."""
        session, pulling = self._session, self._pulling
        with session.lock:
            self.put_right()
            pulling.credit = credit
            pulling.goal, pulling.asked_by = RunState.RUNNING, source
            if pulling.thread is not None:
                session.announce()  # whoever waits for it to rest need not any more
                return None
            check_modes(elsewhere=threaded)
            self.exactness.note_modes(session.tell)
            events, training = self._events_or_failure(), self.training
            if session.state is RunState.FINISHED:
                session.changes.act("reopen", source)
                if reason := training.end_reason():
                    raise RuntimeError(training.plan.explain_end(reason))
            if session.state is RunState.FAILED:
                session.changes.act("leave_out", source)
            session.error = None
            pulling.begun = False
            onward = "start" if session.state is RunState.CREATED else "resume"
            session.journal.event(training.step, onward if credit == math.inf else "step", source=source)
            session.become(RunState.RUNNING)
            thread = thread_from_here(session.name, self._pull, events) if threaded else threading.current_thread()
            pulling.thread = thread
            if threaded:
                thread.start()
            return events

    def _ask_for_pause(self) -> None:
        if self._pulling.goal is not RunState.STOPPED:  # without the lock: a signal's handler waits for nobody
            self._pulling.goal, self._pulling.asked_by = RunState.PAUSED, "code"

    def rest(self, goal: RunState, source: str, wait: bool) -> None:
        """Ask whoever pulls to pause or stop."""
        check_text("source", source)
        session, pulling = self._session, self._pulling
        with session.lock:
            self.put_right()
            if not self.is_pulling:
                if goal is RunState.STOPPED and session.state in (RunState.CREATED, RunState.PAUSED):
                    if self.has_begun:
                        self.loop.take_by_hand()
                    session.become(RunState.STOPPED, _("stopped by hand"), source)
                return
            if pulling.goal is not RunState.STOPPED:
                pulling.goal, pulling.asked_by = goal, source
                session.moved.notify_all()  # a run that is held back
        if wait:  # or until someone lets it go on
            self.wait(lambda: not self.is_pulling or pulling.goal is RunState.RUNNING)

    def at_rest(self, source: str, work: Callable[[], None]) -> None:
        """Pause, and do ``work`` while others are kept from going on.

        Raises
        ------
        RuntimeError
            In the run's own thread, as in a metric of the user's.
        """
        if self.is_own_thread and not is_gone(threading.current_thread()):
            raise RuntimeError(_("a run cannot go back in the middle of its own step."))
        while True:
            self.rest(RunState.PAUSED, source, wait=True)
            with self._session.lock:
                if not self.is_pulling:  # nobody resumed it meanwhile
                    work()
                    return

    def release_workers(self) -> None:
        """End the processes that fetch samples, if the run is at rest; one that goes on starts others."""
        with self._session.lock:
            if not self._is_busy():
                self._session.stage.release()

    def _is_busy(self) -> bool:
        """Whether some thread pulls events: one of its own, or now that of a caller."""
        return self._pulling.thread is not None or (self._loop is not None and self._loop.is_running)

    def halt(self, timeout: float) -> None:
        """Pause at the very next event, a validation or not: the process ends, and torch aborts in a thread left."""
        with self._session.lock:
            self._pulling.halted, self._pulling.goal, thread = True, RunState.PAUSED, self._pulling.thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def wait(self, done: Callable[[], bool], timeout: float | None = None) -> None:
        """Block until ``done``; raise the exception that ended the run, if one did."""
        session = self._session
        self.put_right()
        if not self.is_own_thread:  # a metric or model of the user's that asks for a pause
            with session.lock:
                session.moved.wait_for(done, timeout)
        if session.state is RunState.FAILED and session.error is not None:
            raise session.error

    def has_set_out(self) -> bool:
        """Whether the first step since the last start is done, or nobody pulls."""
        return self._pulling.begun or not self.is_pulling

    def has_spent(self) -> bool:
        """Whether the steps asked for are done, or someone lets it run on."""
        return not self.is_pulling or self._pulling.credit == math.inf

    def has_ended(self) -> bool:
        """Whether nothing trains until someone resumes."""
        return self._session.state.is_ended and not self.is_pulling

    @property
    def is_own_thread(self) -> bool:
        """Whether the caller is called by the run itself, as a metric of the user's is."""
        thread = self._pulling.thread
        return thread is threading.current_thread() if thread else self._loop is not None and self._loop.is_above

    @property
    def credit(self) -> float:
        """How many steps are still to be done of those asked for; infinite if there is no end to them."""
        return self._pulling.credit

    @property
    def is_pulling(self) -> bool:
        """Whether some thread pulls events."""
        return self._pulling.thread is not None
