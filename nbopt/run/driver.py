"""The driver has a run's events pulled, in a thread of its own or the caller's: what any thread asks for."""

from __future__ import annotations

import math
import sys
import threading
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from inspect import GEN_RUNNING, getgeneratorstate
from types import FrameType
from typing import Any, TypeVar

from nbopt.errors import check_text
from nbopt.i18n import _
from nbopt.record.journal import Journal, Operation
from nbopt.run import again
from nbopt.run.interrupts import Deferred
from nbopt.run.progress import ProgressLine
from nbopt.run.worker import Puller
from nbopt.training import loop
from nbopt.training.changes import ChangeQueue
from nbopt.training.recovery import Recovery
from nbopt.training.state import Event, RunState
from nbopt.training.training import Training

T = TypeVar("T")

_VISIT_SECONDS = 0.1  # between two looks whether a run that is waited for came to rest


class Driver(Puller):
    """Starts, pauses and ends the pulling. All public methods may be called from any thread.

    Parameters
    ----------
    name : str
        Of the thread.
    prepare : callable
        Makes the run's material, before the first event.
    changes : Changes
    journal : Journal
    """

    def __init__(self, name: str, prepare: Callable[[], Training], changes: ChangeQueue, journal: Journal) -> None:
        super().__init__(changes, journal)
        self._name = name
        self._prepare = prepare
        self._events: Generator[Event, None, None] | None = None  # the loop last made
        self._recover: Recovery | None = None  # made with the training
        self._told: set[str] = set()

    # -- asking

    def events(self) -> Generator[Event, None, None]:
        """Return the loop's events, for whoever pulls them."""
        with self.lock:
            self.put_right()
            if self._thread is not None:
                raise RuntimeError(_("the run trains in a thread of its own: pause it before pulling its events."))
            if self.training is None or self._recover is None:
                self.training = training = self._prepare()
                training.tiers.planned = self.changes.steps_to_plan
                training.pass_.tell = self.tell
                self.changes.training = training
                self.exactness.begin(training)
                self._recover = Recovery(training, self.changes, self.journal)  # last: now all of it is there
            return self.make_events()

    def make_events(self) -> Generator[Event, None, None]:
        """Return the loop's events, for a run that is there."""
        assert self.training is not None and self._recover is not None
        self.training.go_on()
        self._events = loop.events(self.training, self.changes, self._recover)
        return self._events

    def do_again(self, operations: Iterable[Operation], target: int) -> None:
        """Do the steps up to ``target`` again, if the run does not end before, with changes journaled already."""
        again.do_again(self, operations, target)

    def put_right(self) -> None:
        """Bring a run that an interrupt left half-way to where its journal says it is; else do nothing.

        Whoever asks something of a run at rest calls this first: an exception may fall between any two instructions,
        and another one while this puts right what the first left.
        """
        with self.lock:
            if self._thread is not None and self._is_gone(self._thread):
                self._thread = None
            if self._is_busy():
                return
            if self.training is not None and self._recover is not None and self.training.is_half_way:
                again.go_on_half_way(self, self.training)
            if self.state is RunState.RUNNING:  # nobody pulls any more
                if self.training is not None:
                    self.training.flush()
                    if not self.training.validation_due:
                        self.changes.apply()
                self.journal.event(self.changes.step, "pause", source=self._asked_by)
                self.become(RunState.PAUSED)

    def tell(self, text: str) -> None:
        """Say once what the user should know: as a warning, and in the journal."""
        if text not in self._told:
            self._told.add(text)
            self.journal.event(self.changes.step, "note", text)
            with suppress(Warning):  # where they are errors: a word ends no run
                warnings.warn(text, stacklevel=2)

    def prepare(self) -> Training:
        """Return the run's material; make it, if there is none yet."""
        with self.lock:
            if self.training is None:
                self.events()
            assert self.training is not None
            return self.training

    def between_steps(self, act: Callable[[], T]) -> T:
        """Return what ``act`` returns, called between two steps: by the thread that trains, or here if none does."""
        visit: Future[T] = Future()
        training = self.prepare()
        with self.lock:
            self.put_right()
            if self._is_busy() and not self.is_own_thread:
                visit.add_done_callback(lambda _visit: self.announce())
                training.visits.append((act, visit))
                while not self._moved.wait_for(visit.done, _VISIT_SECONDS):
                    if not self._is_busy() and (act, visit) in training.visits:  # it came to rest first
                        training.visits.remove((act, visit))
                        return act()
                return visit.result()
            return act()

    def ask(self, changes: dict[str, Any], source: str) -> None:
        """Queue changes; where nobody pulls, the run is at rest between two steps, and they are applied here."""
        check_text("source", source)
        with self.lock:
            self.put_right()
            self.changes.ask(changes, source)
            due = self.training is not None and self.training.validation_due  # comes first, as in the loop
            if not self._is_busy() and not due:
                self.changes.apply_at_rest()
            self.announce()

    def go(self, credit: float, source: str, progress: ProgressLine | None = None) -> None:
        """Pull ``credit`` steps in a new thread; with a progress line, in this one."""
        check_text("source", source)
        try:
            events = self._set_out(credit, source, progress is None)
            if events is not None and progress is not None:
                with Deferred(self._ask_for_pause):
                    self._pull(events, progress)
        except BaseException:
            self.put_right()
            raise

    def _events_or_failure(self) -> Generator[Event, None, None]:
        try:
            return self.events()
        except Exception as error:
            self._fail(error)
            raise

    def _set_out(self, credit: float, source: str, threaded: bool) -> Iterator[Event] | None:
        """Begin to pull, in a new thread or this one; return the events, None if somebody pulls them already."""
        with self.lock:
            self.put_right()
            self._credit = credit
            self._goal, self._asked_by = RunState.RUNNING, source
            if self._thread is not None:
                self.announce()  # whoever waits for it to rest need not any more
                return None
            events = self._events_or_failure()
            assert self.training is not None
            if self.state is RunState.FINISHED:
                self.changes.act("reopen", source)
                if reason := self.training.end_reason():
                    raise RuntimeError(self.training.plan.explain_end(reason))
            if self.state is RunState.FAILED:
                self.changes.act("leave_out", source)
            self.error = None
            self._begun = False
            onward = "start" if self.state is RunState.CREATED else "resume"
            event = onward if credit == math.inf else "step"
            self.journal.event(self.changes.step, event, source=source)
            self.become(RunState.RUNNING)
            thread = threading.current_thread()
            if threaded:
                thread = threading.Thread(target=self._pull, args=(events,), name=f"nbopt {self._name}", daemon=True)
            self._thread = thread
            if threaded:
                thread.start()
            return events

    def _ask_for_pause(self) -> None:
        if self._goal is not RunState.STOPPED:  # without the lock: a signal's handler waits for nobody
            self._goal, self._asked_by = RunState.PAUSED, "code"

    def rest(self, goal: RunState, source: str, wait: bool) -> None:
        """Ask the puller to pause or stop."""
        check_text("source", source)
        with self.lock:
            self.put_right()
            if goal is RunState.STOPPED and self._thread is None:
                if self.state in (RunState.CREATED, RunState.PAUSED):
                    self.become(RunState.STOPPED, _("stopped by hand"), source)
            if self._thread is None:
                return
            if self._goal is not RunState.STOPPED:
                self._goal, self._asked_by = goal, source
        if wait:  # or until someone lets it go on
            self.wait(lambda: self._thread is None or self._goal is RunState.RUNNING)

    def at_rest(self, source: str, work: Callable[[], None]) -> None:
        """Pause, and do ``work`` while others are kept from going on.

        Raises
        ------
        RuntimeError
            In the run's own thread, as in a metric of the user's.
        """
        if self._thread is threading.current_thread() and not self._is_gone(self._thread):
            raise RuntimeError(_("a run cannot go back in the middle of its own step."))
        while True:
            self.rest(RunState.PAUSED, source, wait=True)
            with self.lock:
                if self._thread is None:  # nobody resumed it meanwhile
                    work()
                    return

    def release_workers(self) -> None:
        """End the processes that fetch samples, if the run is at rest; one that goes on starts others."""
        with self.lock:
            if not self._is_busy():
                self._stop_workers()

    def _is_busy(self) -> bool:
        """Whether some thread pulls events: one of its own, or now that of a caller."""
        return self._thread is not None or (self._events is not None and getgeneratorstate(self._events) == GEN_RUNNING)

    def _is_gone(self, thread: threading.Thread) -> bool:
        """Whether an interrupt has taken a thread out of its pulling without a word."""
        if thread is not threading.current_thread():
            return not thread.is_alive()
        frame: FrameType | None = sys._getframe()
        while frame is not None and frame.f_code is not Puller._pull.__code__:
            frame = frame.f_back
        return frame is None

    def halt(self, timeout: float) -> None:
        """Pause at the very next event, a validation or not: the process ends, and torch aborts in a thread left."""
        with self.lock:
            self._halted = True
            self._goal = RunState.PAUSED
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    # -- waiting

    def wait(self, done: Callable[[], bool], timeout: float | None = None) -> None:
        """Block until ``done``; raise the exception that ended the run, if one did."""
        self.put_right()
        if self._thread is not threading.current_thread():  # a metric or model of the user's that asks for a pause
            with self.lock:
                self._moved.wait_for(done, timeout)
        if self.state is RunState.FAILED and self.error is not None:
            raise self.error

    def has_begun(self) -> bool:
        """Whether the first step since the last start is done, or nobody pulls."""
        return self._begun or self._thread is None

    def has_spent(self) -> bool:
        """Whether the steps asked for are done, or someone lets it run on."""
        return self._thread is None or self._credit == math.inf

    def has_ended(self) -> bool:
        """Whether nothing trains until someone resumes."""
        return self.state.is_ended and self._thread is None

    @property
    def is_own_thread(self) -> bool:
        """Whether the caller is called by the run itself, as a metric of the user's is."""
        return self._thread is threading.current_thread()

    @property
    def credit(self) -> float:
        """How many steps are still to be done of those asked for; infinite if there is no end to them."""
        return self._credit

    @property
    def is_pulling(self) -> bool:
        """Whether some thread pulls events."""
        return self._thread is not None
