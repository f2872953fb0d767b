"""`Study`: many runs under the same declarations, whose values are searched for."""

from __future__ import annotations

import secrets
from functools import partial
from typing import Any, Self

import torch

from nbopt.errors import InvalidHyperparam, check_text, shorten
from nbopt.hyperparams import Int
from nbopt.i18n import _
from nbopt.run.population.forks import take_out
from nbopt.run.run import Run
from nbopt.run.spec import RunSpec
from nbopt.search.asktell import AskTell
from nbopt.search.building import Blueprint, PartKey, make_space, names_of, only
from nbopt.search.choosing import choose_executor
from nbopt.search.jobs import Job, Part
from nbopt.search.judging import Judging
from nbopt.search.objectives import Objective, find_objectives
from nbopt.search.proposing import Proposer, as_tuple
from nbopt.search.pruners import check_pruner
from nbopt.search.record import Record
from nbopt.search.results import Results
from nbopt.search.samplers import check_sampler
from nbopt.search.space import Space
from nbopt.search.spec import StudySpec
from nbopt.search.trial import COMPLETE, Trial
from nbopt.store.database import AUTO, Place, folder_of
from nbopt.training.prepare import check_seed
from nbopt.training.step.passes import Forward

_REPORTS = 100  # of an objective of the user's, at most, where nothing else is known


class Study(Results):
    """Many runs under the same declarations, whose values a sampler chooses: a search.

    Each trial is a run with a journal, a history and a seed of its own, and can be taken out as a `nbopt.Run`. All
    trials begin with the same weights and see batches in the same order, those of the study's seed.

    Parameters
    ----------
    build : torch.nn.Module or callable, optional
        A model, of which each trial trains a copy; or what returns one: a function with arguments named as dimensions
        of the space, a function of a mapping of all values, or a class of `nbopt.models` (with ``functools.partial``).
    train, val, loss, forward, optimizer, metrics, techniques, device
        As for `nbopt.Run`.
    space : list of str or mapping, optional
        The names of hyperparameters, whose declared ranges are searched, without the true zero of a logarithmic one. A
        mapping narrows or adds: from names to declarations as ``nbopt.Float(...)``, pairs (low, high) or lists.
    objective : str, callable, or list of these
        What is searched for: the name of a measurement, that of the weights with which a trial ends; or a function of a
        trained run. Several give a Pareto front. Without ``build``, a function of a trial in Optuna's style:
        ``trial.suggest_float("x", 0, 1)``, ``trial.values["lr"]``.
    direction : str or list of str, optional
        ``minimize`` or ``maximize``; by default losses and errors are minimized, and metrics maximized.
    sampler : str or sampler of Optuna's
        ``tpe``, ``random``, ``grid``, ``qmc``, ``gp``, ``cmaes``, ``nsga2``, ``particle_swarm``, ``annealing`` or
        ``genetic``.
    pruner : str, None or pruner of Optuna's
        What ends trials early: ``median``, ``percentile``, ``successive_halving`` or ``hyperband``.
    trials : int
        How many there are to be.
    executor : str or Executor
        ``inline``, one after the other; ``threads``; ``population``: trials whose models are built alike train as the
        members of a `nbopt.Population`. ``auto`` does that with small models.
    slots : int, optional
        How many trials are carried out at once. A sampler never knows of those that may still be under way, so that
        the study does not depend on which of them ends first.
    cv : int, splitter of scikit-learn or iterable of (train, val), optional
        Folds of the training data, in the place of ``val``: a trial trains one run on each, and its objective is the
        mean. An int makes stratified folds where targets are class labels.
    repeats : int
        How many runs a trial trains, or on each fold, with seeds from ``seed`` on: its objective is the mean.
    seed : int
        Decides all that is drawn: values, initial weights, batches, noise.
    name : str, optional
    store : str, path or None
        As for `nbopt.Run`: the study is kept there, and `nbopt.open` opens it again, also after a crash.
    **hyperparams
        As for `nbopt.Run`: what all trials have. Divergence ends a trial; ``recover=True`` has runs lower their rate
        and go on, as by themselves.

    Raises
    ------
    InvalidHyperparam, TypeError, ValueError
        For what cannot be searched, and for whatever no run can be made with.
    ImportError
        Where Optuna is not installed; says how to install it.

    Examples
    --------
    >>> import torch
    >>> x = torch.randn(64, 4)
    >>> y = (x[:, 0] > 0).long()
    >>> study = nbopt.Study(torch.nn.Linear(4, 2), (x, y), 0.25, space=["lr"], epochs=2, trials=4, store=None)
    >>> study.fit()
    <Study 'Linear': finished, 4 of 4 trials>
    >>> sorted(study.best.values)
    ['lr']
    >>> study.best.run(store=None).hyperparams["lr"] == study.best.values["lr"]
    True
    """

    def __init__(
        self,
        build: Any = None,
        train: Any = None,
        val: Any = None,
        loss: Any = "cross_entropy",
        *,
        space: Any = None,
        objective: Any = "val_loss",
        direction: Any = None,
        sampler: Any = "tpe",
        pruner: Any = None,
        trials: int = 100,
        executor: Any = "auto",
        slots: int | None = None,
        cv: Any = None,
        repeats: int = 1,
        forward: Forward | None = None,
        optimizer: Any = "adam",
        metrics: Any = None,
        techniques: Any = None,
        seed: int = 0,
        device: str | torch.device = "auto",
        name: str | None = None,
        store: Place | None = AUTO,
        **hyperparams: Any,
    ) -> None:
        kept = (forward, optimizer, metrics, techniques, seed, device, None, None, hyperparams)
        run = RunSpec(build, train, val, loss, *kept)
        ways = (space, objective, direction, sampler, pruner, trials, executor, slots, seed, name, store)
        self._make(StudySpec(build, run, *ways, cv=cv, repeats=repeats))

    @classmethod
    def of(cls, spec: StudySpec, record: Record | None = None) -> Self:
        """Return a study made with ``spec``; with a record, one that goes on from there."""
        study = cls.__new__(cls)
        study._make(spec, record)
        return study

    def _make(self, spec: StudySpec, record: Record | None = None) -> None:
        self.seed, trials = check_seed(spec.seed), _check_count("trials", spec.trials)
        self._blueprint: Blueprint | None = None
        self._function: Any = None
        self._judging = Judging(spec.cv, spec.repeats, self.seed)
        stored: Space | None = spec.space[0] if record is not None else None
        if spec.build is None and (record is None or callable(spec.objective)):
            reports = self._take_function(spec)
        elif spec.build is None:  # to be read only
            self.objectives, reports = [Objective(*each) for each in record.made["judged"]], 1  # type: ignore[union-attr]
            self.space = spec.space[0]
        else:
            reports = self._take_build(spec, stored)
        several = len(self.objectives) > 1
        self.sampler = check_sampler(spec.sampler, several, bool(self.space))
        self.pruner = check_pruner(spec.pruner, several)
        self.id = spec.id or secrets.token_hex(4)
        self.name = check_text("name", spec.name or _name_of(spec.build or spec.objective))
        directions = [each.direction for each in self.objectives]
        asktell = AskTell(self.sampler, self.pruner, directions, self.seed, reports)
        executor = choose_executor(spec.executor, spec.slots, self._blueprint, trials, self.sampler)
        if record is None:
            record = Record(None if spec.store is None else folder_of(spec.store), self.id, directions)
            judged = [[each.name, each.direction] for each in self.objectives]
            record.describe({**spec.put(name=self.name).describe(self.space), "judged": judged})
            record.claim()
        self.begin_with(record, asktell, executor, trials)

    def _take_function(self, spec: StudySpec) -> int:
        objective, direction = spec.objective, spec.direction
        if not callable(objective):
            find_objectives(objective, direction, None)
            rule = _("without build, objective must be one function of a trial")
            raise InvalidHyperparam(_("{rule}; got {value}.", rule=rule, value=shorten(objective)))
        others = {"train": spec.run.train, "val": spec.run.val, **spec.run.hyperparams}
        if given := [name for name, value in others.items() if value is not None]:
            told = _("{names}: there is no build, and so no run to use it", names=", ".join(given))
            raise InvalidHyperparam(_("{told}: give build=, or leave it out.", told=told))
        ways = list(direction) if isinstance(direction, (list, tuple)) else [direction]
        found = [find_objectives(objective, way, None)[0] for way in ways]
        if len(found) > 1:
            found = [Objective(f"{each.name} {k}", each.direction, each.function) for k, each in enumerate(found)]
        self._function, self.objectives = objective, found
        if isinstance(spec.space, list) and spec.space and isinstance(spec.space[0], Space):
            self.space = spec.space[0]
        else:
            self.space = Space([]) if spec.space is None else make_space(spec.space, None)
        return _REPORTS

    def _take_build(self, spec: StudySpec, stored: Space | None) -> int:
        if spec.space is None:
            way = _("name hyperparameters, as space=['lr', 'weight_decay']")
            raise InvalidHyperparam(_("what is to be searched? Say so: {way}.", way=way))
        if spec.run.train is None:
            raise InvalidHyperparam(_("train: a study of a model needs training data."))
        if spec.cv is not None and spec.run.val is not None:
            raise InvalidHyperparam(_("val and cv: folds are validated by each other; leave one of them out."))
        self._judging.split(spec.run.train)
        names = names_of(spec.space) if stored is None else list(stored)
        blueprint = self._blueprint = Blueprint(spec.build, spec.run, names, self._judging)
        if stored is None:
            built = make_space(only(spec.space, blueprint.built), lambda name: blueprint.find_spec(name, None))
        else:
            built = Space([stored[name] for name in blueprint.built])
        declared, measured, reports = blueprint.declare({each.name: each.at(0.5) for each in built.values()})
        self.space = stored or make_space(spec.space, lambda name: blueprint.find_spec(name, declared))
        for name in self.space.keys() & spec.run.hyperparams.keys():
            rule = _("it is a dimension of the space, and has a value given for all trials")
            raise InvalidHyperparam(_("{name}: {rule}: leave one of them out.", name=name, rule=rule))
        self.objectives = find_objectives(spec.objective, spec.direction, measured)
        return reports if len(self._judging.parts) == 1 else len(self._judging.parts)

    # -- what a trial is made of

    @property
    def makes_runs(self) -> bool:  # type: ignore[override]
        """Whether trials are runs that nbopt trains."""
        return self._blueprint is not None

    def _make_job(self, trial: Trial) -> Job:
        return Job(trial.number, self._make_parts(trial), self.report, self.note_report)

    def _make_parts(self, trial: Trial) -> list[Part]:
        values, blueprint, function = dict(trial.values), self._blueprint, self._function
        if function is not None:
            proposer = Proposer(trial.number, values, self._asktell.handle(trial.number), self.note_report)
            return [Part(lambda: self._judge(as_tuple(function(proposer))))]
        if blueprint is None:
            rule = _("opened without build it can be read only")
            raise RuntimeError(
                _("study {id}: {rule}. Give what it was made with to nbopt.open.", id=self.id, rule=rule)
            )
        own, found = blueprint.own(values), []
        for place, key in enumerate(self._judging.parts):
            name = f"{self.name} [{trial.number}]" + (f" {place}" if len(self._judging.parts) > 1 else "")

            def measure(session: Any, key: PartKey = key) -> tuple[float, ...]:
                blueprint.keep_data(key, session)
                return tuple(each.measure(session) for each in self.objectives)

            make = partial(blueprint.spec, values, name, key)
            found.append(Part(None, make, own, measure, blueprint.shape(values, key[1]), partial(blueprint.data, key)))
        return found

    def _judge(self, found: tuple[float, ...]) -> tuple[float, ...]:
        if len(found) != len(self.objectives):
            told = _(
                "the objective returned {got} numbers, and there are {count} directions",
                got=len(found),
                count=len(self.objectives),
            )
            raise ValueError(f"{told}.")
        return found

    def _take_out(self, trial: Trial, name: str | None, store: Any) -> Run:
        if not trial.is_done:
            raise ValueError(_("trial {number} is still under way.", number=trial.number))
        assert self._blueprint is not None
        name = name or f"{self.name} [{trial.number}]"
        if (held := self._sessions.get(trial.number)) is not None:
            return take_out(held, Run, name, store)
        return self._blueprint.again(
            trial.values, trial.steps, trial.state == COMPLETE or len(trial.parts) > 1, name, store
        )


def _check_count(name: str, value: Any) -> int:
    number = Int(1, low=1, high=1, ge=1)
    number.name = name
    return number.check(value)


def _name_of(what: Any) -> str:
    what = getattr(what, "func", what)
    if isinstance(what, torch.nn.Module):
        return type(what).__name__
    name = str(getattr(what, "__name__", type(what).__name__))
    return _("study") if name == "<lambda>" else name
