"""Trainings that are built alike, as members of one population: who has ended leaves it, and others join."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from nbopt.hyperparams import Hyperparams
from nbopt.run.population.member import Member
from nbopt.run.population.members import make_members
from nbopt.run.population.population import Population
from nbopt.run.population.values import SEED, check_rows
from nbopt.run.spec import RunSpec
from nbopt.search.executors.jobs import Job, Part
from nbopt.training.many.member import OneOfMany


class Row(NamedTuple):
    """One training of a trial, which is a member; ``place`` is that among the trial's parts."""

    job: Job
    part: Part
    place: int


class Company:
    """Members of a population, which is kept while they come and go: what was compiled for it serves them all.

    Parameters
    ----------
    spec : RunSpec
        What one of them is made with; the others differ from it in numbers, data and seed.
    declared : Hyperparams
        As that declares them.
    look : callable
        ``look(company, member)``: called after a validation, between two steps.
    outlook : callable
        See `nbopt.training.many.compiled.CompiledSteps`.

    Attributes
    ----------
    population : Population
    rows : list of Row
        Whose training each member is, by its place.
    validations : list of int
        How often each was validated.
    """

    def __init__(
        self,
        spec: RunSpec,
        declared: Hyperparams,
        look: Callable[[Company, Member], None],
        outlook: Callable[[OneOfMany], tuple[float, float]] | None,
    ) -> None:
        self._declared = declared
        self.rows: list[Row] = []
        self.validations: list[int] = []
        population = self.population = Population.__new__(Population)
        population.begin_with(spec, declared.another(), 0, lambda made: [])
        if outlook is not None:
            population.puller.together.compiled.outlook = outlook
        population.puller.heed = lambda member: look(self, member)

    def check(self, row: Row) -> None:
        """Raise InvalidHyperparam where a training has values that do not go together."""
        check_rows(self._declared, [dict(row.part.own)])

    def make(self, rows: Sequence[Row], count: int) -> list[Member]:
        """Return members for these trainings, beside the ``count`` that there are."""
        raise NotImplementedError

    def join(self, rows: Sequence[Row]) -> None:
        """Have members for these trainings, too; called while the population rests."""
        population, count = self.population, len(self.rows)
        population.size = count + len(rows)
        if not count:  # a batch begins as the very first does
            population.puller.together.tier = ""
        population.members += self.make(rows, count)
        self.rows += rows
        self.validations += [0] * len(rows)
        self._number()
        population.prepare()
        for row, member in zip(rows, population.members[count:], strict=True):
            if row.part.keep is not None:
                row.part.keep(member)

    def go(self) -> None:
        """Train until somebody asks for a pause, or all have ended."""
        self.population.puller.go(math.inf, "study", here=True)

    def pause(self) -> None:
        """Have it come to rest between two steps; callable from any thread."""
        self.population.puller.ask_for_pause()

    def places(self, number: int) -> list[int]:
        """Return the members that belong to a trial."""
        return [place for place, row in enumerate(self.rows) if row.job.number == number]

    def part_with_ended(self) -> list[tuple[Row, Member]]:
        """Let members go that have ended, and return them; called while the population rests."""
        members = self.population.members
        ended = [(row, member) for row, member in zip(self.rows, members, strict=True) if member.state.is_ended]
        going = [place for place, member in enumerate(members) if not member.state.is_ended]
        self.rows = [self.rows[place] for place in going]
        self.validations = [self.validations[place] for place in going]
        self.population.members = [members[place] for place in going]
        self._number()
        return ended

    def _number(self) -> None:
        self.population.size = len(self.population.members)
        for place, member in enumerate(self.population.members):
            member.number = place


class Alike(Company):
    """Members whose models are built alike.

    Parameters
    ----------
    first : Part
        One of the trainings.
    look, outlook : callable
    """

    def __init__(
        self,
        first: Part,
        look: Callable[[Company, Member], None],
        outlook: Callable[[OneOfMany], tuple[float, float]],
    ) -> None:
        assert first.spec is not None
        spec = first.spec().checked()
        declared = spec.declare()
        self._spec = spec.settled(declared)
        super().__init__(self._spec, declared, look, outlook)

    def make(self, rows: Sequence[Row], count: int) -> list[Member]:
        """Return members for these trainings."""
        values = check_rows(self._declared, [dict(row.part.own) for row in rows])
        data = [{} if row.part.data is None else dict(row.part.data()) for row in rows]
        every = [own | {SEED: known.get("seed", self._spec.seed)} for own, known in zip(values, data, strict=True)]
        made = make_members(self.population, self._spec, self._declared, every)
        for member, known in zip(made, data, strict=True):
            member.spec = replace(member.spec, **known)
        return made
