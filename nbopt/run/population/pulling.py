"""Whoever pulls the members of a population: a thread of its own, or that of a caller."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

import torch

from nbopt.i18n import _
from nbopt.run.population.herd import Herd
from nbopt.run.population.kept import at_once
from nbopt.run.population.member import Member
from nbopt.run.worker.interrupts import Deferred
from nbopt.run.worker.threads import check_modes, thread_from_here
from nbopt.training.loop import pull_together
from nbopt.training.many.together import Together
from nbopt.training.state import Finished, RunState, Validated

T = TypeVar("T")

_VISIT_SECONDS = 0.1


class _Rest(Exception):
    """Raised between two steps: nobody is to go on."""


class _Anew(Exception):
    """Raised between two steps: other members go on."""


class Puller:
    """Pulls the members of a population until it is to rest.

    Attributes
    ----------
    together : Together
        What does their steps.
    thread : threading.Thread or None
        Who pulls; None while nobody does.
    credit : float
        Steps to do before pausing.
    goal : RunState
        What the population is asked to become.
    begun : bool
        Whether a step was done since it set out.
    heed : callable or None
        Called with a member that was validated, between two steps.
    """

    def __init__(self, population: Herd) -> None:
        self.together = Together()
        self.thread: threading.Thread | None = None
        self.credit = math.inf
        self.goal = RunState.RUNNING
        self.asked_by = "run"
        self.begun = False
        self.heed: Callable[[Member], None] | None = None
        self._population = population
        self._visits: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._active: list[Member] = []
        self._asked: list[deque[Any]] = []
        self._member_visits: list[deque[Any]] = []

    def between_steps(self, act: Callable[[], T]) -> T:
        """Return what ``act`` returns, called between two steps: by the thread that pulls, or here if none does."""
        visit: Future[T] = Future()
        population = self._population
        with population.lock:
            if self.thread is None or self.thread is threading.current_thread():
                return act()
            self._visits.append((act, visit))
            while not population.moved.wait_for(visit.done, _VISIT_SECONDS):
                if self.thread is None and (act, visit) in self._visits:  # it came to rest first
                    self._visits.remove((act, visit))
                    return act()
        return visit.result()

    def go(self, credit: float, source: str, here: bool) -> None:
        """Pull ``credit`` steps, in a new thread or here."""
        population = self._population
        with population.lock:
            self.credit, self.goal, self.asked_by = credit, RunState.RUNNING, source
            if self.thread is not None:
                population.announce()
                return
            check_modes(elsewhere=not here)
            population.begin()
            self.begun = False
            population.journal.event(population.step_count, "start" if credit == math.inf else "step", source=source)
            population.become(RunState.RUNNING)
            if here:
                self.thread = threading.current_thread()
            else:
                self.thread = thread_from_here(population.name, self._pull)
                self.thread.start()
        if here:
            with Deferred(self.ask_for_pause):
                self._pull()

    def ask_for_pause(self) -> None:
        """Pause between two steps; from a signal's handler, too."""
        if self.goal is not RunState.STOPPED:
            self.goal, self.asked_by = RunState.PAUSED, "code"

    def _pull(self) -> None:
        population = self._population
        try:
            torch.set_num_threads(torch.get_num_threads())  # see `nbopt.run.worker.pulling`
            while True:
                try:
                    self._pull_active()
                    break
                except _Anew:
                    continue
        except _Rest:
            pass
        except Exception as error:
            failed = error
            self._leave(lambda: population.fail(failed))
            return
        except BaseException:
            self._leave(lambda: population.become(RunState.PAUSED))
            raise
        self._leave(self._settle)

    def _pull_active(self) -> None:
        """Pull all members that train until none does."""
        self._population.is_regrouped = False
        self._active = self._population.training_members
        for member in self._active:
            member.training.meter.tick(running=True)
        self._loops = [member.requests() for member in self._active]
        self._asked = [member.changes.asked for member in self._active]  # looked at often: no more than queues
        self._member_visits = [member.training.visits for member in self._active]
        for number, event in pull_together(self._loops, self._step):
            member = self._active[number]
            if isinstance(event, Finished) and not member.state.is_ended:
                member.finish(event.reason)
            elif isinstance(event, Validated) and self.heed is not None:
                self.heed(member)

    def _step(self, asking: Sequence[int]) -> list[int]:
        """Do the next steps of these members: all of them are at rest between two steps now."""
        population = self._population
        while self._visits:
            act, visit = self._visits.popleft()
            try:
                visit.set_result(act())
            except BaseException as error:  # it is for who asked
                visit.set_exception(error)
            population.announce()
        if population.is_regrouped:
            raise _Anew
        if self.credit <= 0 or self.goal is not RunState.RUNNING:
            with population.lock:  # no request slips in between
                if self.credit <= 0 or self.goal is not RunState.RUNNING:
                    raise _Rest
        if population.keeping is not None:
            population.keeping.take_if_due()
        members = [self._active[number] for number in asking]
        steps = [member.step_count for member in members]
        room = min(self.credit, *(member.room() for member in members))
        results = self.together([member.training for member in members], room, self._has_news, self._has_changes)
        counts = []
        for number, member, result in zip(asking, members, results, strict=True):
            if isinstance(result, Exception):
                member.fail(result)
                self._loops[number].close()
            counts.append(0 if isinstance(result, Exception) else result)
        self.credit -= max(counts)
        if any(member.mode != self.together.tier for member in members):
            with at_once(population.keeping):
                for member, step in zip(members, steps, strict=True):
                    member.note_tier(step, self.together.tier)
        population.ticks += max(counts)
        if population.keeping is not None:
            population.keeping.ledger.step = population.ticks
        if not self.begun and any(counts):
            self.begun = True
            population.announce()
        return counts

    def _has_news(self) -> bool:
        """Whether somebody waits for what is done between two steps."""
        population = self._population
        asked = self._visits or population.is_regrouped or self.goal is not RunState.RUNNING
        return bool(asked) or any(self._asked) or any(self._member_visits)

    def _has_changes(self) -> bool:
        """Whether somebody waits for a change to act."""
        return any(self._asked)

    # -- coming to rest

    def _settle(self) -> None:
        population = self._population
        for member in population.training_members:
            member.stage.flush()
            if not member.stage.validation_due:
                member.changes.apply()
        ended = not population.training_members
        failed = [member for member in population if member.state is RunState.FAILED]
        if ended and len(failed) == len(population) and failed[0].error is not None:
            population.fail(failed[0].error)
        elif ended:
            population.become(RunState.FINISHED, _("all members have ended"))
        elif self.goal is RunState.STOPPED:
            population.become(RunState.STOPPED, _("stopped by hand"), self.asked_by)
        else:
            population.journal.event(population.step_count, "pause", source=self.asked_by)
            population.become(RunState.PAUSED)

    def _leave(self, settle: Callable[[], None]) -> None:
        """Pull no more."""
        population = self._population
        with population.lock:
            for member in self._active:
                member.training.meter.tick(running=False)
            try:
                settle()
            finally:
                self.thread = None
                for member in population:
                    member.follow(running=False)
                if population.keeping is not None:
                    population.keeping.take()
                population.announce()
