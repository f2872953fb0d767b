"""When a study searches: the verbs that a run has, too."""

from __future__ import annotations

import threading
from typing import Self

from nbopt.errors import check_text
from nbopt.i18n import _
from nbopt.record.journal import NOT_EXACT
from nbopt.run.worker.interrupts import Deferred
from nbopt.run.worker.threads import check_modes, thread_from_here
from nbopt.search.course import Course
from nbopt.search.executors.batched import Batched
from nbopt.search.executors.executor import Inline
from nbopt.training.state import RunState


class Steered(Course):
    """Starts, pauses and ends as a run does. All public methods may be called from any thread."""

    def start(self, *, wait: bool = True, source: str = "code") -> None:
        """Start or continue the search in a background thread. Does nothing if it is running."""
        self._go(check_text("source", source), here=False)

    def resume(self, *, wait: bool = True, source: str = "code") -> None:
        """Continue after a pause or a stop or, once ``trials`` has been raised, after the end."""
        self.start(wait=wait, source=source)

    def pause(self, *, wait: bool = True, source: str = "code") -> None:
        """Pause all running trials between two steps. With ``wait``, return once they are paused."""
        self._rest(RunState.PAUSED, check_text("source", source), wait)

    def stop(self, *, wait: bool = True, source: str = "code") -> None:
        """End the study where it is. Running trials are given up; `resume` starts them anew."""
        self._rest(RunState.STOPPED, check_text("source", source), wait)

    def wait(self, timeout: float | None = None) -> RunState:
        """Block until the study ends or ``timeout`` seconds pass; return its state.

        If an exception ended the study, it is raised.
        """
        with self.lock:
            self.moved.wait_for(lambda: self.state.is_ended and self._thread is None, timeout)
        if self.state is RunState.FAILED and self.error is not None:
            raise self.error
        return self.state

    def fit(self) -> Self:
        """Search to the end in the calling thread, and return the study. Ctrl-C pauses it."""
        self._go("code", here=True)
        with self.lock:
            self.moved.wait_for(lambda: self._thread is None)
        if self.state is RunState.FAILED and self.error is not None:
            raise self.error
        return self

    def _go(self, source: str, here: bool) -> None:
        with self.lock:
            self._goal, self._asked_by = RunState.RUNNING, source
            self.executor.hold(False)
            if self._thread is not None:
                return
            self.record.check_writes()
            if not (here and isinstance(self.executor, Inline)):  # which calls an objective of the user's as they would
                check_modes(elsewhere=not (here and isinstance(self.executor, Batched)))
            if self._written >= self._total and not self._waiting:
                rule = _("set more of them: study.set(trials={more})", more=self._total + 10)
                raise RuntimeError(_("all {count} trials are done: {rule}.", count=self._total, rule=rule))
            if self._handed:
                names = ", ".join(map(str, sorted(self._handed)))
                way = _("tell their results first, or give them up by study.stop()")
                raise RuntimeError(_("trials were asked for and are not told: {names}; {way}.", names=names, way=way))
            self.error = None
            self._open_batch()
            self.journal.event(self.asked, "start" if not self._trials else "resume", source=source)
            self._become(RunState.RUNNING)
            self._thread = threading.current_thread()
            if not here:
                self._thread = thread_from_here(self.name, self._search)
                self._thread.start()
        if here:
            with Deferred(lambda: self._ask_for_rest(RunState.PAUSED, "code")):
                self._search()

    def _open_batch(self) -> None:
        """Have a batch that was written in part begin again: it ends as it did in the company of the others alone."""
        batch = self._trials[-1].batch if self._trials else None
        if isinstance(self.executor, Batched) and batch is not None and batch[1] >= len(self._trials):
            self._written = batch[0]
            del self._trials[self._written :]
            self._begin_anew()

    def _ask_for_rest(self, goal: RunState, source: str) -> None:
        self._goal, self._asked_by = goal, source
        self.executor.hold(True)

    def _rest(self, goal: RunState, source: str, wait: bool) -> None:
        with self.lock:
            rests = self._thread is None
            if not rests and self._goal is not RunState.STOPPED:
                self._ask_for_rest(goal, source)
        if rests:
            if goal is RunState.STOPPED and self.state in (RunState.CREATED, RunState.PAUSED):
                self._settle(goal, source)
        elif wait and self._thread is not threading.current_thread():
            with self.lock:
                self.moved.wait_for(lambda: self._thread is None or self._goal is RunState.RUNNING)

    def note_inexact(self, number: int, reason: str) -> None:
        """Have the journal say why the study cannot be repeated exactly, where there is a reason."""
        if reason:
            self.journal.event(number, NOT_EXACT, {"reason": reason}, "study")
