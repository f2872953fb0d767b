"""Trials carried out as members of populations: those that are built alike train as one."""

from __future__ import annotations

import time
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

from nbopt.errors import InvalidHyperparam
from nbopt.run.population.member import Member
from nbopt.run.population.values import find_shared
from nbopt.search.executors.company import Alike, Company, Row
from nbopt.search.executors.jobs import Ended, Job, Part, mean_of
from nbopt.search.trial import COMPLETE, PRUNED
from nbopt.training.many.member import OneOfMany
from nbopt.training.state import RunState

_KEPT = 4  # populations of models built otherwise, for those that are built so again


class Batched:
    """So many trials at once.

    Trainings whose models are built alike, and that agree in what is one for all members of a population, go together;
    the folds of a trial beside those of others.

    Parameters
    ----------
    slots : int
    techniques : sequence
        The user's own.
    trials : int
        How many the study is to have, to tell whether compiling pays.
    refills : bool
        Whether a trial takes the place of one that has ended. Then a sampler knows of one batch of ``slots`` trials
        less, and a pruner of whoever got so far. Otherwise the next ones begin when a whole batch has ended.
    first : int
        Another size of the first batch, that of trials which a sampler draws before it has learned anything.

    Attributes
    ----------
    slots : int
        How many trials at once, at most.
    first, batch : int
        The sizes of the first batch and of those that follow; a first one of 0 is like the others.
    """

    def __init__(
        self, slots: int, techniques: Sequence[Any] = (), trials: int = 0, refills: bool = False, first: int = 0
    ) -> None:
        self.slots, self.first, self.batch, self.refills = max(slots, first), first, slots, refills
        self._shared, self._trials = find_shared(techniques), trials
        self._jobs: dict[int, Job] = {}
        self._alike: dict[int, Any] = {}  # which go together, by their numbers
        self._waiting: dict[Any, list[Row]] = {}
        self._companies: dict[Any, Company] = {}
        self._company: Company | None = None
        self._ended: dict[int, list[tuple[Row, Member]]] = {}
        self._cancelled: set[int] = set()
        self._changes: dict[int, list[Mapping[str, Any]]] = {}  # of a hand, of trials that have not ended
        self._ready: list[Ended] = []
        self._resting = False
        self._seconds, self._began, self._told = 0.0, 0.0, 0

    def known(self, number: int) -> int:
        """All trials of the batches before; where places are taken anew, without the last of them."""
        if number < self.first:
            return 0
        begun = number - (number - self.first) % self.batch
        return max(self.first, begun - self.batch) if self.refills else begun

    def compared(self, number: int) -> Container[int]:
        """Those that have surely ended, and of those beside it whoever is trained step by step with it, and not behind.

        A batch that begins as a whole does so again after a crash, so that all of it may be.
        """
        known = self.known(number)
        if not self.refills:
            return range(self.first if number < self.first else known + self.batch)
        alike = {m for m in range(known, number) if self._alike.get(m) == self._alike[number]}
        return {*range(known), *alike}

    def recall(self, jobs: Iterable[Job]) -> None:
        """Know trials that others may be compared with, and that have ended before."""
        for job in jobs:
            self._alike[job.number] = self._key(job.parts[0])

    def submit(self, job: Job) -> None:
        """Take a trial on."""
        self._jobs[job.number] = job
        self.recall([job])
        for place, part in enumerate(job.parts):
            self._waiting.setdefault(self._key(part), []).append(Row(job, part, place))

    def _key(self, part: Part) -> Any:
        """Return what is equal for trainings that go together."""
        same = tuple((name, repr(value)) for name, value in sorted(part.own.items()) if name in self._shared)
        return part.shape, same

    def set(self, number: int, changes: Mapping[str, Any]) -> None:
        """Change values of a trial."""
        self._changes.setdefault(number, []).append(changes)
        if (company := self._company) is not None and (places := company.places(number)):
            company.population.set(members=places, source="study", **changes)

    def cancel(self, number: int) -> None:
        """End a trial after its step, or before its first."""
        self._cancelled.add(number)
        if (company := self._company) is not None and (places := company.places(number)):
            company.population.stop(places, wait=False, source="study")
            company.pause()

    def hold(self, resting: bool) -> None:
        """Rest between two steps, or go on."""
        self._resting = resting
        if resting and (company := self._company) is not None:
            company.pause()

    def events(self) -> Iterator[Ended]:
        """Go on until trials have ended, or all are to rest; trials are told of by number, a batch as a whole.

        What a member's numbers are in their last digits depends on who trains beside it: half a batch that was written
        would have others beside the other half, when the study goes on after a crash.
        """
        while not self._resting and self._jobs:
            ended = self._ready
            ended += self._tell_cancelled()
            if (company := None if ended and self.refills else self._find_company()) is not None:
                self._began = time.perf_counter()
                company.go()
                self._seconds += time.perf_counter() - self._began
                ended += self._tell(company.part_with_ended())
            if ended and (self.refills or not self._jobs):
                self._ready = []
                ended.sort(key=lambda each: each.number)
                batch = None if self.refills else (ended[0].number, ended[-1].number)
                yield from (each._replace(batch=batch) for each in ended)
                return

    def look_at(self, company: Company) -> None:
        """Do what is to be done after a validation."""

    def close(self) -> None:
        """Give up whatever has not ended."""
        self._jobs, self._waiting, self._ended, self._companies = {}, {}, {}, {}
        self._company, self._ready = None, []
        self._cancelled.clear()
        self._changes.clear()

    # -- who trains

    def _find_company(self) -> Company | None:
        """Return those who are to go on now, with whoever waits to join them."""
        current = next((key for key, company in self._companies.items() if company.rows), None)
        key = next(iter(self._waiting), None) if current is None else current
        if key is None:
            return None
        rows = self._waiting.pop(key, [])
        company = self._companies.pop(key, None)
        if company is None:
            try:
                company = self.found(rows[0].part)
            except Exception as error:  # whatever ``build`` raises
                self._waiting = {key: rows, **self._waiting}
                self._fail(rows[0].job.number, error)
                return None
        self._companies[key] = self._company = company
        if len(self._companies) > _KEPT:
            del self._companies[next(iter(self._companies))]
        rows = [row for row in rows if self._may_join(company, row)]
        if rows:
            company.join(rows)
        for number in {row.job.number for row in rows} & self._changes.keys():
            for changes in self._changes[number]:
                company.population.set(members=company.places(number), source="study", **changes)
        return company if company.rows else None

    def _may_join(self, company: Company, row: Row) -> bool:
        """Whether a training can begin; fail its trial where its values do not go together."""
        number = row.job.number
        if number not in self._jobs:  # another of its trainings failed
            return False
        try:
            company.check(row)
        except InvalidHyperparam as error:
            self._fail(number, error)
            return False
        return True

    def _fail(self, number: int, error: Exception) -> None:
        """Have a trial failed of which no model can be built, with all of its trainings."""
        waiting = {key: [row for row in rows if row.job.number != number] for key, rows in self._waiting.items()}
        self._waiting = {key: rows for key, rows in waiting.items() if rows}
        del self._jobs[number]
        trained = [member for _row, member in self._ended.pop(number, [])]
        for company in self._companies.values():
            if places := company.places(number):
                trained += [company.population[place] for place in places]
                company.population.stop(places, wait=False, source="study")
        self._ready.append(Ended.failed(number, error, None, sum(member.step_count for member in trained)))

    def found(self, first: Part) -> Company:
        """Return a population without members yet, for trainings like this one."""
        return Alike(first, self.look, self.outlook)

    def look(self, company: Company, member: Member) -> None:
        """Take note of a validation."""
        place, job = member.number, company.rows[member.number].job
        company.validations[place] += 1
        if len(job.parts) == 1 and job.report(job.number, member, company.validations[place]):
            company.population.end([member], "study")
        self.look_at(company)
        if self._resting or (self.refills and (member.state.is_ended or member.training.end_reason())):
            company.pause()

    def outlook(self, first: OneOfMany) -> tuple[float, float]:
        """Return the seconds that all trials have trained so far, and what those ahead may take."""
        seconds = self._seconds + time.perf_counter() - self._began
        done = self._told + len(self._jobs) * first.share
        return seconds, seconds / done * (self._trials - done) if done else 0.0

    # -- who has ended

    def _tell_cancelled(self) -> Iterator[Ended]:
        """Tell of trials that were given up before they began."""
        for number in sorted(self._cancelled & self._jobs.keys()):
            for key, rows in list(self._waiting.items()):
                self._waiting[key] = [row for row in rows if row.job.number != number]
                if not self._waiting[key]:
                    del self._waiting[key]
            if not any(company.places(number) for company in self._companies.values()):
                trained = self._ended.pop(number, [])
                steps = sum(member.step_count for _row, member in trained)
                del self._jobs[number]
                yield Ended(number, PRUNED, (), (), None, steps)
        self._cancelled &= self._jobs.keys()

    def _tell(self, ended: Iterable[tuple[Row, Member]]) -> Iterator[Ended]:
        """Tell of the trials of which all trainings have ended by now."""
        for row, member in ended:
            if row.job.number not in self._jobs:  # it failed elsewhere
                continue
            self._ended.setdefault(row.job.number, []).append((row, member))
        for number, trained in list(self._ended.items()):
            if len(trained) == len(self._jobs[number].parts):
                trained.sort(key=lambda pair: pair[0].place)
                del self._ended[number]
                self._told += 1
                self._changes.pop(number, None)
                yield _tell_end(self._jobs.pop(number), trained)


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
