"""Trials carried out as members of populations: those that are built alike train as one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from nbopt.run.population.member import Member
from nbopt.run.population.members import make_members
from nbopt.run.population.population import Population
from nbopt.run.population.values import SEED, check_rows, find_shared
from nbopt.search.jobs import Ended, Job, Part, mean_of
from nbopt.search.trial import COMPLETE, PRUNED
from nbopt.training.state import RunState


class Row(NamedTuple):
    """One training of a trial, which is a member."""

    job: Job
    part: Part


class Batched:
    """So many trials at once, the next ones when all of them have ended.

    Trainings whose models are built alike, and that agree in what is one for all members of a population, go together;
    the folds of a trial beside those of others.

    Parameters
    ----------
    slots : int
    techniques : sequence
        The user's own.
    """

    def __init__(self, slots: int, techniques: Sequence[Any] = ()) -> None:
        self.slots = slots
        self._shared = find_shared(techniques)
        self._jobs: list[Job] = []
        self._waiting: list[list[Row]] = []
        self._population: Population | None = None
        self._members: dict[int, list[tuple[Row, Member]]] = {}
        self._resting = False

    def known(self, number: int) -> int:
        """All trials of the batches before."""
        return number - number % self.slots

    def submit(self, job: Job) -> None:
        """Take a trial on; it begins with the others of its batch."""
        self._jobs.append(job)

    def set(self, number: int, changes: Mapping[str, Any]) -> None:
        """Change values of a trial."""
        if (population := self._population) is not None and (places := self._places(number)):
            population.set(members=places, source="study", **changes)

    def cancel(self, number: int) -> None:
        """End a trial after its step."""
        if (population := self._population) is not None and (places := self._places(number)):
            population.stop(places, wait=False, source="study")

    def hold(self, resting: bool) -> None:
        """Rest between two steps, or go on."""
        self._resting = resting
        if resting and (population := self._population) is not None:
            population.puller.ask_for_pause()

    def events(self) -> Iterator[Ended]:
        """Go on until the whole batch has ended, or is to rest; trials are told of in the order of numbers."""
        if not self._waiting and self._jobs and not self._members:
            self._waiting = self._group()
        while self._waiting and not self._resting:
            rows = self._waiting[0]
            if self._population is None:
                self._population = self._make(rows)
            population = self._population
            if any(not member.state.is_ended for member in population):
                population.puller.go(math.inf, "study", here=True)
            if population.training_members:  # it was asked to rest
                continue
            for row, member in zip(rows, population, strict=True):
                self._members.setdefault(row.job.number, []).append((row, member))
            self._population = None
            del self._waiting[0]
        if not self._waiting and not self._resting:
            jobs, members = self._jobs, self._members
            self._jobs, self._members = [], {}
            yield from (_tell_end(job, members[job.number]) for job in jobs)

    def look_at(self, population: Population, rows: Sequence[Row], validations: Sequence[int]) -> None:
        """Do what is to be done after a validation, the number of which is known for each member."""

    def close(self) -> None:
        """Give up the batch."""
        self._jobs, self._waiting, self._members, self._population = [], [], {}, None

    def _places(self, number: int) -> list[int]:
        rows = self._waiting[0] if self._waiting else []
        return [place for place, row in enumerate(rows) if row.job.number == number]

    def _group(self) -> list[list[Row]]:
        """Return those that can train together."""
        found: dict[Any, list[Row]] = {}
        for job in self._jobs:
            for part in job.parts:
                same = tuple((name, repr(value)) for name, value in sorted(part.own.items()) if name in self._shared)
                found.setdefault((part.shape, same), []).append(Row(job, part))
        return list(found.values())

    def _make(self, rows: Sequence[Row]) -> Population:
        first = rows[0].part
        assert first.spec is not None
        spec = first.spec().checked()
        declared = spec.declare()
        spec = spec.settled(declared)
        values = check_rows(declared, [dict(row.part.own) for row in rows])
        data = [{} if row.part.data is None else dict(row.part.data()) for row in rows]
        every = [own | {SEED: known.get("seed", spec.seed)} for own, known in zip(values, data, strict=True)]
        population = Population.__new__(Population)
        population.begin_with(spec, declared, len(rows), lambda made: make_members(made, spec, declared, every))
        for member, known in zip(population, data, strict=True):
            member.spec = replace(member.spec, **known)
        validations = [0] * len(rows)

        def look(member: Member) -> None:
            place, job = member.number, rows[member.number].job
            validations[place] += 1
            if len(job.parts) == 1 and job.report(job.number, member, validations[place]):
                population.end([member], "study")
            self.look_at(population, rows, validations)
            if self._resting:
                population.puller.ask_for_pause()

        population.puller.heed = look
        return population


def _tell_end(job: Job, trained: Sequence[tuple[Row, Member]]) -> Ended:
    """Return how a trial ended, from how its members did."""
    members = [member for _row, member in trained]
    steps = sum(member.step_count for member in members)
    session = members[0] if len(members) == 1 else None
    for member in members:
        if member.state is RunState.FAILED:
            error = member.error if isinstance(member.error, Exception) else RuntimeError(member.end_reason)
            return Ended.failed(job.number, error, session, steps)
    if any(member.state is not RunState.FINISHED for member in members):
        return Ended(job.number, PRUNED, (), (), session, steps)
    try:
        found = [row.part.measure(member) for row, member in trained if row.part.measure is not None]
    except Exception as error:  # whatever an objective of the user's raises
        return Ended.failed(job.number, error, session, steps)
    return Ended(job.number, COMPLETE, mean_of(found), found, session, steps)
