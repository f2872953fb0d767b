"""A search around where a run is: its trials are members that go on from there, with values near to the run's."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from nbopt.errors import InvalidHyperparam, shorten
from nbopt.hyperparams import Float, Int
from nbopt.i18n import _
from nbopt.record.snapshots import Snapshot
from nbopt.run.population.forks import fork_member, take, take_out
from nbopt.run.population.member import Member
from nbopt.run.population.population import Population
from nbopt.run.run import Run
from nbopt.search.executors.batched import Batched
from nbopt.search.executors.company import Company, Row
from nbopt.search.executors.jobs import Part
from nbopt.search.spaces.dimension import Dimension
from nbopt.search.spaces.given import make_space, names_of
from nbopt.search.spaces.space import Space
from nbopt.search.subjects.objectives import find_objectives
from nbopt.search.subjects.subject import Subject
from nbopt.search.trial import COMPLETE, Trial
from nbopt.techniques.plan import Plan
from nbopt.training.prepare import check_in_time

USUAL = ("lr", "weight_decay", "dropout")
"""What is searched where nothing is said, as far as it acts."""

_REPORTS = 100  # validations ahead, where they cannot be counted


class OfRun(Subject):
    """A run, from where it is or was.

    Parameters
    ----------
    run : Run
    space, objective, at, share, epochs
        As for `nbopt.Study.around`.

    Attributes
    ----------
    start : Member
        A copy of the run at rest, which trials begin as: the run itself is not looked at again.
    present : dict of str to object
        The values there, of what is searched.
    """

    def __init__(self, run: Run, space: Any, objective: Any, at: Any, share: float, epochs: int | None) -> None:
        if not isinstance(run, Run):
            raise TypeError(_("Study.around searches around a nbopt.Run; got {value}.", value=shorten(run)))

        def copy() -> Population:
            return Population.of_run(run, [{}], at, _("{name}, start", name=run.name))

        population = run.worker.between_steps(copy) if at == "now" else copy()
        self.start: Member = population[0]
        self.snapshot: Snapshot = take(self.start)
        values = self.start.hyperparams
        named = [name for name in USUAL if name in values and name not in run.inert] if space is None else space
        self.present = {name: values[name] for name in names_of(named) if name in values}
        found = Space(
            [
                _near(each, self.present[each.name], share, named)
                for each in make_space(named, lambda name, _bounds: values.spec(name)).values()
            ]
        )
        for each in found.values():
            check_in_time({each.name: math.nan}, values, self.snapshot.step)
        training = self.start.training
        self._more = {} if epochs is None else {"epochs": training.cursor.epoch + _count(epochs)}
        if not self._more and (reason := training.end_reason()):
            way = _("say for how many epochs trials are to go on (epochs=), or where they begin (at=)")
            raise InvalidHyperparam(_("nothing is left to be trained ({reason}): {way}.", reason=reason, way=way))
        if objective is None:
            objective = "loss" if run.spec.val is None else "val_loss"
        objectives = find_objectives(objective, None, sorted(run.history.expected))
        super().__init__(found, objectives, _reports_ahead(training.plan, training.cursor.epoch, self._more))

    def parts(self, trial: Trial, name: str, asked: Any, note: Callable[[int, int, float], bool]) -> list[Part]:
        """Return what the member has of its own."""

        def measure(session: Any) -> tuple[float, ...]:
            return tuple(each.measure(session) for each in self.objectives)

        return [Part(own={**self._more, **trial.values}, measure=measure)]

    def check_change(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Return changes of a trial that trains, checked."""
        return self.start.hyperparams.check(changes)

    def equip(self, trial: Trial, held: Callable[[int], Any]) -> None:
        """Let it be taken out as a run: as it was trained, where that is held, else trained again."""

        def take_one(trial: Trial, name: str, store: Any) -> Run:
            if (session := held(trial.number)) is None:
                session = Forks(self, lambda *_given: None, None).again(trial)
            return take_out(session, Run, name, store)

        trial.take_out = take_one


class Forks(Company):
    """Members that begin where the run was."""

    def __init__(self, subject: OfRun, look: Callable[[Company, Member], None], outlook: Any) -> None:
        self._subject, start = subject, subject.start
        super().__init__(replace(start.spec, name=start.name), start.hyperparams, look, outlook)
        self.population.initial, self.population.split = start.initial, start.seed

    def make(self, rows: Sequence[Row], count: int) -> list[Member]:
        """Return members for these trainings."""
        return [self._fork(count + number, row.part.own) for number, row in enumerate(rows)]

    def again(self, trial: Trial) -> Member:
        """Train a trial again, as far as it was trained."""
        (part,) = self._subject.parts(trial, "", None, lambda *_given: False)
        population = self.population
        population.size = 1
        member = self._fork(0, part.own)
        population.members = [member]
        if trial.state == COMPLETE:
            population.fit()
        elif more := trial.steps - self._subject.snapshot.step:
            population.step(more)
        return member

    def _fork(self, number: int, own: Mapping[str, Any]) -> Member:
        start = self._subject.start
        member = fork_member(start, self.population, number, self._subject.snapshot, seed=start.seed)
        member.training.cursor.seed = start.training.cursor.seed
        member.changes.make(dict(own), "study")
        return member


class Around(Batched):
    """Carries out trials that go on from where a run was."""

    def __init__(self, subject: OfRun, slots: int, trials: int, refills: bool, first: int = 0) -> None:
        super().__init__(slots, subject.start.techniques, trials, refills, first)
        self._subject = subject

    def found(self, first: Part) -> Company:
        """Return those who begin there."""
        return Forks(self._subject, self.look, self.outlook)


def _near(dimension: Dimension, value: Any, share: float, given: Any) -> Dimension:
    """Return the part of a declared range that lies about a value; what bounds were given for stays."""
    if dimension.options or (isinstance(given, Mapping) and given.get(dimension.name) is not None):
        return dimension
    if not value and (dimension.log or dimension.powers):  # a true zero lies below all decades
        return dimension.narrowed((dimension.at(0.0), dimension.at(share)))
    low = min(max(dimension.place(value) - share / 2, 0.0), 1 - share)
    ends = dimension.at(low), dimension.at(low + share)
    if dimension.powers:  # the value itself may be none
        return dimension.narrowed(ends)
    return dimension.narrowed((min(*ends, value), max(*ends, value)))


def _reports_ahead(plan: Plan, epoch: int, more: Mapping[str, Any]) -> int:
    """Return how often a trial will be validated, about."""
    if plan.validate_every or plan.steps:
        return _REPORTS
    ahead = more.get("epochs", plan.epochs) - epoch
    return max(1, int(ahead)) if ahead < math.inf else _REPORTS


def _count(epochs: Any) -> int:
    number = Int(1, low=1, high=1, ge=1)
    number.name = "epochs"
    return number.check(epochs)


def check_share(share: Any) -> float:
    """Return a share of a range; raise InvalidHyperparam for what is none."""
    number = Float(0.25, low=0.0, high=1.0, gt=0.0)
    number.name = "share"
    if (found := number.check(share)) > 1:
        raise InvalidHyperparam(_("share must be above 0, and 1 at most; got {value}.", value=shorten(share)))
    return found
