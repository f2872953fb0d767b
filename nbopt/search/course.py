"""The course of a study: who asks for trials, has them carried out, and takes down what came of them."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any

from nbopt.errors import tell_error
from nbopt.i18n import _
from nbopt.record.journal import Journal
from nbopt.search.executors.batched import Batched
from nbopt.search.executors.evolving import Evolving, Move, moves_after
from nbopt.search.executors.executor import Executor
from nbopt.search.executors.jobs import Ended, Job
from nbopt.search.record import Record, state_after
from nbopt.search.samplers.asktell import AskTell
from nbopt.search.spaces.encoding import decode_all, decode_each
from nbopt.search.spaces.space import Space
from nbopt.search.subjects.objectives import Objective, reported
from nbopt.search.trial import COMPLETE, FAILED, RUNNING, Trial
from nbopt.training.state import RunState

_KEPT = 3  # trials whose runs stay in memory


class Course:
    """Trials one after the other, from the first one asked for to the last one written.

    The record is the truth; the trials here are what it holds and those that are under way. Trials are asked for in the
    order of numbers, and written in it. What a hand does acts from the next trial asked for on, whose number is the
    ``step`` of the journal's entry.

    Attributes
    ----------
    state : RunState
    error : BaseException or None
        The exception that ended it, until it goes on.
    end_reason : str
    journal : Journal
        What was done to the study.
    watchers : list of callable
        Who is called whenever something changed.
    """

    name: str
    space: Space
    seed: int
    objectives: list[Objective]
    _waiting: list[dict[str, Any]]

    def begin_with(self, record: Record, asktell: AskTell, executor: Executor, trials: int) -> None:
        """Take up a study: what its record holds, and what is to be done."""
        self.record, self._asktell, self.executor, self._total = record, asktell, executor, trials
        record.is_busy = lambda: self._thread is not None
        if isinstance(executor, Evolving):
            executor.evolve = self.evolve
        self.journal = Journal(record.entries())
        self.journal.sink = record.add_entry
        self.state, self.end_reason = state_after(self.journal)
        self.error: BaseException | None = None
        self.watchers: list[Callable[[], None]] = []
        self.lock = threading.RLock()
        self.moved = threading.Condition(self.lock)
        self._declared = self.space
        self._thread: threading.Thread | None = None
        self._goal, self._asked_by = RunState.RUNNING, "code"
        self._begun: dict[int, float] = {}
        self._errors: dict[int, Exception | None] = {}  # of trials that are not written yet
        self._handed: set[int] = set()  # trials that code of the user's carries out
        self._sessions: dict[int, Any] = {}
        self._read()
        self._begin_anew()

    def _read(self) -> None:
        self._trials: list[Trial] = self.record.trials(self._declared)
        self._written = self._recorded = len(self._trials)
        for trial in self._trials:
            self._equip(trial)

    def _equip(self, trial: Trial) -> None:
        """Give a trial the means to become a run or an estimator."""

    def _find_notes(self, trial: Trial) -> dict[str, Any]:
        """Return what is known of a trial beside its objectives."""
        return {}

    def _make_job(self, trial: Trial) -> Job:
        raise NotImplementedError

    # -- the course

    @property
    def asked(self) -> int:
        """How many trials were asked for."""
        return len(self._trials)

    def _search(self) -> None:
        """Ask, have it carried out, take it down; until there is nothing left or it is to rest."""
        try:
            while self._goes_on():
                for ended in self.executor.events():
                    self._take(ended)
        except Exception as error:
            self.executor.close()  # without the lock, which trials take to report
            with self.lock:
                self._give_up()
                self.error = error
                self.journal.event(self.asked, "failed", tell_error(error))
                self._become(RunState.FAILED, tell_error(error))
        except BaseException:  # a second Ctrl-C
            self._settle(RunState.STOPPED, "code")
            raise
        finally:
            with self.lock:
                self._thread = None
                self._announce()

    def _goes_on(self) -> bool:
        """Ask for trials; return whether any are to be carried out, else come to rest."""
        with self.lock:
            if (goal := self._goal) is RunState.RUNNING:
                self._fill()
                if self._written < len(self._trials):
                    return True
                self.executor.close()
                self._finish()
                return False
        self._settle(goal, self._asked_by)
        return False

    def _finish(self) -> None:
        reason = _("all {count} trials are done", count=self.asked)
        self.journal.event(self.asked, "finished", reason)
        self._become(RunState.FINISHED, reason)

    def _settle(self, goal: RunState, source: str) -> None:
        """Come to rest."""
        if goal is RunState.STOPPED:
            self.executor.close()
        with self.lock:
            if goal is RunState.STOPPED:
                self._give_up()
            self.journal.event(self.asked, "stopped" if goal is RunState.STOPPED else "pause", source=source)
            self._become(goal, _("stopped by hand") if goal is RunState.STOPPED else "")

    def _give_up(self) -> None:
        """Forget the trials that are not written: they will be asked for again."""
        del self._trials[self._written :]
        if self._written < self._recorded:
            self._read()
        for under_way in (self._begun, self._errors, self._handed):
            under_way.clear()
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Let sampler and pruner know what is written, and the space as it is now."""
        self.space, self._version, self._acted, self._waiting = self._declared, 0, 0, []
        self._act(renew=False)
        del self._waiting[: sum(trial.source != "sampler" for trial in self._trials)]
        self._asktell.begin(self.space, self._version, self._trials)
        if isinstance(self.executor, Batched) and self.executor.refills:
            self.executor.recall(map(self._make_job, self._trials[self.executor.known(self._written) :]))

    def _fill(self) -> None:
        """Ask for as many trials as can be carried out, and may be asked for by now."""
        while True:
            number = len(self._trials)
            known = self.executor.known(number)
            if number >= self._total or len(self._begun) >= self.executor.slots or known > self._written:
                return
            self._tell(known)
            if self._asktell.is_over and not self._waiting:
                self.journal.change(number, "trials", self._total, number, "sampler")
                self._act()
                return
            self.executor.submit(self._make_job(self._next()))
            self._announce()

    def _next(self) -> Trial:
        """Ask for a trial, of a sampler that was told what it may know."""
        number = len(self._trials)
        given = self._waiting.pop(0) if self._waiting else None
        values = self._asktell.ask(number, self._total, given)
        trial = Trial(number, values, source="sampler" if given is None else "code", space=self._version)
        self._equip(trial)
        self._trials.append(trial)
        self._begun[number] = time.monotonic()
        return trial

    def _tell(self, known: int) -> None:
        """Do what a hand did, and tell the sampler of the first ``known`` trials."""
        self._act()
        for trial in self._trials[:known]:
            self._asktell.tell(trial)

    def _take(self, ended: Ended) -> None:
        """Take down how a trial ended, and write what is to be written by now."""
        with self.lock:
            trial = self._trials[ended.number]
            trial.seconds, trial.ended = time.monotonic() - self._begun.pop(ended.number), time.time()
            trial.note = trial.note if ended.error is None else tell_error(ended.error)
            trial.steps, trial.parts, trial.batch = ended.steps, [*ended.parts], ended.batch
            values, distributions = self._asktell.suggested(trial.number)
            trial.values, trial.distributions = trial.values | values, distributions or None
            none = [o.name for o, value in zip(self.objectives, ended.objectives, strict=False) if math.isnan(value)]
            if none:  # as Optuna has it: a sampler learns nothing of it
                trial.note = _("its {name} is no number (NaN)", name=", ".join(none))
            trial.objectives = () if none else ended.objectives
            trial.attrs = self._asktell.notes(trial.number) | self._find_notes(trial)
            trial.state = FAILED if none else ended.state
            if ended.session is not None:
                self._sessions[trial.number] = ended.session
            self._errors[trial.number] = ended.error
            begun = self._written
            while self._written < len(self._trials) and self._trials[self._written].state != RUNNING:
                written = self._trials[self._written]
                if self._written == self._recorded:
                    self.record.add_trial(written, self._declared, written.attrs)
                    self._recorded += 1
                self._written += 1
            self._keep()
            self._announce()
            errors = [self._errors.pop(number, None) for number in range(begun, self._written)]
            none_ended = all(each.state == FAILED for each in self._trials[: self._written])
            if none_ended and (raised := [error for error in errors if error is not None]):
                raise raised[0]  # where the first one fails, so would all

    def _keep(self) -> None:
        """Keep the runs of the best trials in memory, and let the others go."""
        best = {trial.number for trial in self.ranked()[:_KEPT]}
        running = {trial.number for trial in self._trials if trial.state == RUNNING}
        for number in self._sessions.keys() - best - running:
            del self._sessions[number]

    def ranked(self) -> list[Trial]:
        """Return the complete trials, the best one first; of several objectives, by the first."""
        done = [trial for trial in self._trials if trial.state == COMPLETE]
        return sorted(done, key=lambda trial: trial.objectives[0], reverse=self.objectives[0].direction == "maximize")

    # -- what a hand does

    def _act(self, renew: bool = True) -> None:
        """Do to the space and the plan what the journal says that a hand did."""
        before = self._version
        for entry in self.journal[self._acted :]:
            if entry.name == "narrow":
                bounds = {name: tuple(decode_each(self.space[name], ends)) for name, ends in entry.new.items()}
                self.space = self.space.narrowed(**bounds)
            elif entry.name == "pin":
                self.space = self.space.with_pinned(**decode_all(self.space, entry.new))
            elif entry.name == "add":
                self._waiting.append(decode_all(self.space, entry.new))
            elif entry.name == "trials":
                self._total = entry.new
            self._version += entry.name in ("narrow", "pin")
        self._acted = len(self.journal)
        if renew and self._version != before:
            self._asktell.begin(self.space, self._version, self._trials)

    # -- telling

    def report(self, number: int, session: Any, step: int) -> bool:
        """Take note of a validation; return whether the trial is to be pruned, which has not trained to its end."""
        value = reported(self.objectives, session)
        return value is not None and self.note_report(number, step, value) and not session.training.end_reason()

    def note_report(self, number: int, step: int, value: float) -> bool:
        """Take note of a value on the way; return whether the trial is to be pruned."""
        with self.lock:
            trial, objective = self._trials[number], self.objectives[0]
            trial.reports[step] = objective.sane(value)
            if trial.reports[step] == objective.worst:
                trial.note = _("its {name} is no longer a finite number", name=objective.name)
                return True
            self._announce()
            return self._asktell.report(number, step, value, self.executor.compared(number))

    def evolve(self, validation: int) -> list[Move]:
        """Return which trials go on from where others are, after a validation of all; see `executors/evolving.py`."""
        with self.lock:
            under_way = [self._trials[number] for number in self._begun]
            moves = moves_after(validation, under_way, self.objectives[0], self.space, self.seed)
            for trial, of, own in moves:
                self.journal.event(self.asked, "exploit", {"trial": trial, "of": of, **own}, "sampler")
                self._trials[trial].values |= own
            self._announce()
            return moves

    def _become(self, state: RunState, reason: str = "") -> None:
        self.state, self.end_reason = state, reason
        self._announce()

    def _announce(self) -> None:
        with self.lock:
            self.moved.notify_all()
        for wake in [*self.watchers]:
            wake()
