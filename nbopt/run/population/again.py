"""Steps of a population done again: all that its ledger tells of is done at the steps at which it was."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from nbopt.i18n import _
from nbopt.record.history import History, Series
from nbopt.record.journal import ACTIONS, EDIT, SWITCH, TUNING, Entry, Operation
from nbopt.record.ledger import CLONE, unwrap
from nbopt.record.snapshots import Snapshot
from nbopt.run.population.cloning import copy_over
from nbopt.run.population.managed import Managed
from nbopt.run.population.member import Member
from nbopt.training.loop import pull_together
from nbopt.training.snapshots.restoring import restore
from nbopt.training.state import Finished, RunState

_OPERATIONS = (*ACTIONS, EDIT, TUNING)
_ALWAYS = 2**62  # steps
_STARTS = ("start", "step", "resume")
_OWN = (CLONE, *_STARTS)
_OF_MEMBER = ("rewind", *(state.value for state in (RunState.STOPPED, RunState.FAILED, RunState.FINISHED)))
"""What was done between two steps, and not by members on their way to the next one."""


class _There(Exception):
    """Raised between two steps: it is where it was to go."""


class _Anew(Exception):
    """Raised between two steps: something was done, and members are to be looked at again."""


class Again:
    """Leads a population from a state of all its members to a step.

    Members' journals are of no use afterwards: what is done again, they may have told of twice.

    Parameters
    ----------
    population : Managed
    entries : sequence of (int, Entry)
        What the ledger has since that state, with its places there.
    target : int
        The step of the population, as the ledger counts them.
    back : mapping of int to Snapshot
        States that members went back to, by the places of the entries that tell of it.
    """

    def __init__(
        self, population: Managed, entries: Sequence[tuple[int, Entry]], target: int, back: Mapping[int, Snapshot]
    ) -> None:
        self._population = population
        self._left = deque((number, entry.step, *unwrap(entry)) for number, entry in entries)
        self._target = target
        self._back = back
        self._tier = population.puller.together.tier
        self._active: list[Member] = []

    def do_changes(self) -> None:
        """Do what was done before the first step."""
        self._target = 0
        self._do_entries()

    def do(self) -> None:
        """Do it."""
        together = self._population.puller.together
        is_on = together.compiled.is_on
        try:
            self._population.prepare()
            while True:
                try:
                    self._pull()
                    break
                except _Anew:
                    continue
        except _There:
            pass
        finally:
            self._hold()  # it goes on as it was
            together.held, together.compiled.is_on, together.evaluation.is_on = None, is_on, True
            for member in self._population:
                member.training.tiers.held_until = member.step_count
        while self._left:  # nobody trains any more
            self._population.ticks = max(self._population.ticks, self._left[0][1])
            self._do_entries()

    def _pull(self) -> None:
        population = self._population
        population.is_regrouped = False
        self._active = population.training_members
        for member in self._active:  # where techniques asked for changes, the ledger has them
            member.training.tiers.held_until = _ALWAYS
        loops = [member.requests(self._ignore(member)) for member in self._active]
        self._loops = loops
        for number, event in pull_together(loops, self._step):
            if isinstance(event, Finished):
                self._active[number].finish(event.reason)
        if self._do_entries() and population.training_members:
            raise _Anew

    def _ignore(self, member: Member) -> Any:
        def ignore() -> list[Entry]:
            """Leave it to the ledger when the guard sent the member back."""
            member.training.trouble = None
            return []

        return ignore

    def _step(self, asking: Sequence[int]) -> list[int]:
        population = self._population
        if self._do_entries():
            raise _Anew
        if population.ticks >= self._target:
            raise _There
        next_at = self._left[0][1] if self._left else self._target
        ahead = min(self._target, next_at) - population.ticks
        members = [self._active[number] for number in asking]
        room = min(ahead, *(member.room() for member in members))
        results = self._do_steps(members, room)
        counts = []
        for number, member, result in zip(asking, members, results, strict=True):
            if isinstance(result, Exception):
                member.fail(result)
                self._loops[number].close()
            counts.append(0 if isinstance(result, Exception) else result)
        population.ticks += max(counts)
        if not max(counts):
            raise _There
        self._plan()
        return counts

    def _do_steps(self, members: Sequence[Member], room: float) -> list[int | Exception]:
        self._hold()
        return self._population.puller.together([member.training for member in members], room)

    def _hold(self) -> None:
        """Have the next steps done as they were; machine code is waited for."""
        together, tier = self._population.puller.together, self._tier
        together.held = tier
        together.compiled.is_on = together.compiled.is_awaited = tier in ("compiled", "whole")
        together.evaluation.is_on = together.evaluation.is_awaited = tier == "whole"

    # -- entries

    def _plan(self) -> None:
        """Have members change what they changed at this step, as long as nothing else was done to them there."""
        while self._left and self._left[0][1] <= self._population.ticks:
            _number, _step, member, entry = self._left[0]
            if entry.name in (_OWN if member is None else _OF_MEMBER):
                return
            self._left.popleft()
            if member is not None and _is_operation(entry):
                self._plan_one(self._population[member], entry)
            elif member is not None:
                self._note_tier(entry)

    def _note_tier(self, entry: Entry) -> None:
        if entry.name == SWITCH and isinstance(entry.new, dict) and isinstance(entry.new.get("many"), str):
            self._tier = entry.new["many"]

    def _plan_one(self, member: Member, entry: Entry) -> None:
        operation = Operation(entry.step, entry.name, entry.new, entry.source)
        member.changes.plan([operation], journaled=True)
        if member.state.is_ended:
            member.changes.apply()

    def _do_entries(self) -> bool:
        """Do what else was done at this step; return whether members are to be looked at again."""
        done = False
        while self._left and self._left[0][1] <= self._population.ticks:
            number, _step, member, entry = self._left.popleft()
            if member is None:
                done |= self._do_own(entry)
            else:
                done |= self._do_of_member(number, self._population[member], entry)
        return done

    def _do_own(self, entry: Entry) -> bool:
        population = self._population
        if entry.name == CLONE:
            own = {name: value for name, value in entry.new.items() if name not in ("member", "into")}
            original, old = (population[entry.new[name]] for name in ("member", "into"))
            population.prepare()
            copy_over(population, original, old, own, entry.source)
        elif entry.name in _STARTS:
            with suppress(RuntimeError):  # nothing was left to do
                population.begin()
            population.state = RunState.RUNNING
        else:
            return False
        return True

    def _do_of_member(self, number: int, member: Member, entry: Entry) -> bool:
        self._note_tier(entry)
        if _is_operation(entry):
            self._plan_one(member, entry)
            member.changes.apply()
        elif entry.name == RunState.STOPPED.value:
            self._population.end([member], entry.source)
        elif entry.name == RunState.FAILED.value and not member.state.is_ended:
            member.become(RunState.FAILED, str(entry.new))
        elif entry.name == "rewind":
            _go_back(member, self._back[number])
        else:
            return False
        return True


def _is_operation(entry: Entry) -> bool:
    return entry.kind == "change" or entry.name in _OPERATIONS


def _go_back(member: Member, snapshot: Snapshot) -> None:
    training = member.training
    restore(training, snapshot)
    training.history.go_back(snapshot.step, validated=not snapshot.facts["validation_due"])
    training.snapshots.forget_after(snapshot.step)
    training.snapshots.add(snapshot)


def find_difference(population: Managed, recorded: Sequence[History], begin: Sequence[float]) -> str:
    """Say in words which value, first of those measured again, is another than the first time; "" where none is.

    Parameters
    ----------
    population : Managed
    recorded : sequence of History
        Of each member, as it was.
    begin : sequence of float
        The step of each from which it was done again as it was recorded.
    """
    for member, history, first in zip(population, recorded, begin, strict=True):
        for name in history.names:
            if name not in member.history:
                continue
            (at, was), (again, now) = (_since(each[name], first) for each in (history, member.history))
            at, there, here = np.intersect1d(at, again, return_indices=True)  # long histories are thinned
            was, now = was[there], now[here]
            if len(differ := np.flatnonzero((was != now) & ~(np.isnan(was) & np.isnan(now)))):
                step, old, new = (array[differ[0]].item() for array in (at, was, now))
                values = {"member": member.number, "name": name, "step": step, "old": old, "new": new}
                return _("of member {member}, {name} at step {step} is {new}; the first time it was {old}.", **values)
    return ""


def _since(series: Series, step: float) -> Series:
    begin = int(np.searchsorted(series[0], step))
    return series[0][begin:], series[1][begin:]
