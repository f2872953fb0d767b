"""What a study is of: a function of the user's, a model that nbopt trains, or an estimator of scikit-learn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from nbopt.errors import InvalidHyperparam, shorten
from nbopt.hyperparams.values import tell_unused
from nbopt.i18n import _
from nbopt.run.population.forks import take_out
from nbopt.run.run import Run
from nbopt.search.executors import evolving
from nbopt.search.executors.checkpoints import Trained
from nbopt.search.executors.jobs import Part
from nbopt.search.samplers import slopes
from nbopt.search.spaces.given import check_conditions, make_space, names_of, only
from nbopt.search.spaces.space import Space
from nbopt.search.spec import StudySpec
from nbopt.search.subjects.building import Blueprint, PartKey
from nbopt.search.subjects.estimators import Estimator, is_estimator, refuse_settings
from nbopt.search.subjects.judging import Judging
from nbopt.search.subjects.objectives import Objective, find_objectives, tell_apart
from nbopt.search.subjects.proposing import Proposer, as_tuple, objective
from nbopt.search.trial import COMPLETE, Trial
from nbopt.training.prepare import check_in_time

BY_HAND = "nbopt:by_hand"  # what a hand changed of a trial as it trained, noted with it
_REPORTS = 100  # of an objective of the user's, at most, where nothing else is known


class Subject:
    """What trials are made of; by itself, that of a study that is read only.

    Parameters
    ----------
    space : Space
    objectives : list of Objective
    reports : int
        How often a trial reports at most.

    Attributes
    ----------
    blueprint : Blueprint or None
        What makes its runs, where nbopt trains.
    notes : dict of int to dict
        What was found out about trials for the sampler, until they are written.
    study, seed : str, int
        The study's id, and its seed.
    is_asked, is_stored : bool
        Whether code of the user's may carry out its trials; whether a file holds the study.
    """

    blueprint: Blueprint | None = None
    study, seed = "", 0
    is_asked = is_stored = False

    @property
    def is_whole(self) -> bool:
        """Whether there is anything to carry out, and not only something to read."""
        return type(self) is not Subject

    def __init__(self, space: Space, objectives: list[Objective], reports: int = 1) -> None:
        self.space, self.objectives, self.reports = space, objectives, reports
        self.notes: dict[int, dict[str, Any]] = {}

    def parts(self, trial: Trial, name: str, asked: Any, note: Callable[[int, int, float], bool]) -> list[Part]:
        """Return what there is to do for a trial.

        Parameters
        ----------
        trial : Trial
        name : str
            What its run is called.
        asked : optuna.trial.Trial
        note : callable
            See `nbopt.search.executors.jobs.Job`.
        """
        raise RuntimeError(_("opened without build, a study can be read only: give nbopt.open what it was made with."))

    def given(self) -> dict[str, Any]:
        """Return what the user gave, by its name."""
        return {"objective": [each.function for each in self.objectives], "space": self.space}

    def judge(self, found: Any) -> tuple[float, ...]:
        """Return what somebody found, one number for each objective."""
        found = as_tuple(found)
        if len(found) != len(self.objectives):
            ways = ", ".join(["'minimize'"] * len(found))
            way = _("give a direction for each, as direction=[{ways}]", ways=ways)
            counts = {"got": len(found), "count": len(self.objectives), "way": way}
            raise ValueError(_("the objective returned {got} numbers, and the study has {count}: {way}.", **counts))
        return tuple(found)

    def check_change(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Return changes of a trial that trains, checked; raise InvalidHyperparam for what cannot be changed."""
        raise InvalidHyperparam(_("nbopt does not train these trials: there is nothing to change in them."))

    def check(self, sampler: Any, pruner: Any) -> None:
        """Raise InvalidHyperparam where the sampler cannot search for this."""
        if sampler in (evolving.NAME, slopes.NAME):
            rule = _("it needs a model that nbopt trains, with validation data, no folds or repeats, and no pruner")
            raise InvalidHyperparam(_("sampler {name!r}: {rule}.", name=sampler, rule=rule))

    def equip(self, trial: Trial, held: Callable[[int], Any]) -> None:
        """Give a trial the means to become a run or an estimator; ``held`` finds what was trained, if it is there."""


class OfFunction(Subject):
    """A function of a trial."""

    is_asked = True

    def __init__(self, spec: StudySpec, stored: Space | None) -> None:
        given, direction = objective if spec.objective is None else spec.objective, spec.direction
        if not callable(given):
            find_objectives(given, direction, None)
            rule = _("without build, objective must be one function of a trial")
            raise InvalidHyperparam(_("{rule}; got {value}.", rule=rule, value=shorten(given)))
        others = {"train": spec.run.train, "val": spec.run.val, "cv": spec.cv, **spec.run.hyperparams}
        if unused := [name for name, value in others.items() if value is not None]:
            told = _("{names}: there is no build, and so no run to use it", names=", ".join(unused))
            raise InvalidHyperparam(_("{told}: give build=, or leave it out.", told=told))
        ways = list(direction) if isinstance(direction, (list, tuple)) else [direction]
        found = [find_objectives(given, way, None)[0] for way in ways]
        if len(found) > 1:
            found = [Objective(f"{each.name} {k}", each.direction, each.function) for k, each in enumerate(found)]
        if stored is None:
            stored = Space([]) if spec.space is None else make_space(spec.space)
        check_conditions(stored, {})
        super().__init__(stored, found, _REPORTS)
        self._function = given

    def given(self) -> dict[str, Any]:
        """Return what the user gave, by its name."""
        return {"objective": self._function, "space": self.space}

    def parts(self, trial: Trial, name: str, asked: Any, note: Callable[[int, int, float], bool]) -> list[Part]:
        """Return the call of the function."""
        proposer = Proposer(trial.number, dict(trial.values), asked, note, self.is_stored)
        return [Part(lambda: self.judge(self._function(proposer)))]


class OfModel(Subject):
    """A model, or what builds one."""

    blueprint: Blueprint

    def __init__(self, spec: StudySpec, stored: Space | None, judging: Judging) -> None:
        if spec.space is None:
            way = _("name hyperparameters, as space=['lr', 'weight_decay']")
            raise InvalidHyperparam(_("what is to be searched? Say so: {way}.", way=way))
        if spec.run.train is None:
            raise InvalidHyperparam(_("train: a study of a model needs training data."))
        if spec.cv is not None and spec.run.val is not None:
            raise InvalidHyperparam(_("val and cv: folds are validated by each other; leave one of them out."))
        judging.split(spec.run.train)
        names = names_of(spec.space) if stored is None else list(stored)
        blueprint = self.blueprint = Blueprint(spec.build, spec.run, names, judging)
        self._judging = judging
        if stored is None:
            built = make_space(only(spec.space, blueprint.built), partial(blueprint.find_spec, None))
        else:
            built = Space([stored[name] for name in blueprint.built])
        blueprint.check_defaults(built)
        declared, measured, reports = blueprint.declare_some(built)
        self._declared = declared
        space = stored or make_space(spec.space, partial(blueprint.find_spec, declared))
        check_conditions(space, blueprint.fixed(declared))
        blueprint.count_shapes(space)
        for name in space.keys() & spec.run.hyperparams.keys():
            rule = _("it is a dimension of the space, and has a value given for all trials")
            raise InvalidHyperparam(_("{name}: {rule}: leave one of them out.", name=name, rule=rule))
        if stored is None:
            tell_unused(declared.find_overruled({**spec.run.hyperparams, **{n: d.at(0.5) for n, d in space.items()}}))
        parts = len(judging.parts)
        found = find_objectives(spec.objective, spec.direction, measured)
        super().__init__(space, found, reports if parts == 1 else parts)

    def check_change(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Return changes of a trial that trains, checked; raise InvalidHyperparam for what cannot be changed."""
        checked = self._declared.check(changes)
        check_in_time(checked, self._declared, 1)
        return checked

    def check(self, sampler: Any, pruner: Any) -> None:
        """Raise InvalidHyperparam where the sampler cannot search for this."""
        self._sampler = sampler
        if sampler in (evolving.NAME, slopes.NAME):
            named = len(self.objectives) == 1 and self.objectives[0].name.startswith("val_")
            if pruner != "none" or len(self._judging.parts) > 1 or not named:
                super().check(sampler, pruner)
        if sampler in (evolving.NAME, slopes.NAME):
            for name in (name for name, each in self.space.items() if each.when):
                rule = _("it knows no dimensions that matter only sometimes: leave {name} out", name=name)
                raise InvalidHyperparam(_("sampler {name!r}: {rule}.", name=sampler, rule=rule))
        if sampler == evolving.NAME:
            evolving.check_changeable(self.space, self.blueprint.built, self.blueprint.techniques)
        elif sampler == slopes.NAME:
            slopes.check_slopes(self.blueprint, self._judging.parts[0], self.space, self.objectives)

    def given(self) -> dict[str, Any]:
        """Return what the user gave, by its name."""
        return {**self.blueprint.given(), **super().given()}

    def parts(self, trial: Trial, name: str, asked: Any, note: Callable[[int, int, float], bool]) -> list[Part]:
        """Return a run for each fold and seed."""
        keys = self._judging.parts
        names = [f"{name} {place}" for place in range(len(keys))] if len(keys) > 1 else [name]
        return [self._part(trial, key, each) for key, each in zip(keys, names, strict=True)]

    def _part(self, trial: Trial, key: PartKey, name: str) -> Part:
        blueprint, values = self.blueprint, dict(trial.values)
        keep = partial(blueprint.keep_data, key)

        def measure(session: Any) -> tuple[float, ...]:
            keep(session)
            if self._sampler == slopes.NAME:
                found = slopes.find_slopes(blueprint, key, values, list(self.space), session.step_count)
                self.notes.setdefault(trial.number, {})[slopes.NOTE] = found
            return tuple(each.measure(session) for each in self.objectives)

        make, data = partial(blueprint.spec, values, name, key), partial(blueprint.data, key)
        return Part(None, make, blueprint.own(values), measure, blueprint.shape(values, key[1]), data, keep)

    def equip(self, trial: Trial, held: Callable[[int], Any]) -> None:
        """Let it be taken out as a run: as it was trained, where that is held, else trained again."""

        def take(trial: Trial, name: str, store: Any) -> Run:
            session = held(trial.number)
            if isinstance(session, Trained):
                return self.blueprint.resume(trial.values, session.checkpoint, name, store)
            if session is not None:
                return take_out(session, Run, name, store)
            if names := trial.attrs.get(BY_HAND):
                rule = _("{names} was changed by hand as it trained", names=", ".join(names))
                raise ValueError(_("trial {number} is held no longer: {rule}.", number=trial.number, rule=rule))
            if self._sampler == evolving.NAME:
                rule = _("its values changed as it trained, and its weights came from others")
                raise ValueError(_("trial {number} is held no longer: {rule}.", number=trial.number, rule=rule))
            whole = trial.state == COMPLETE or len(self._judging.parts) > 1
            run = self.blueprint.again(trial.values, trial.steps, whole, name, store)
            if len(trial.parts) < 2:
                tell_apart(self.objectives, trial.objectives, run)
            return run

        trial.take_out = take


class OfEstimator(Subject):
    """An estimator of scikit-learn."""

    def __init__(self, spec: StudySpec, stored: Space | None, judging: Judging) -> None:
        if spec.run.train is None or (spec.space is None and stored is None):
            raise InvalidHyperparam(_("a study of an estimator needs train=(X, y), and space=: a mapping to values."))
        if spec.cv is not None and spec.run.val is not None:
            raise InvalidHyperparam(_("val and cv: folds are validated by each other; leave one of them out."))
        refuse_settings(spec.run)
        self._estimator = Estimator(spec.build, spec.run.train, spec.run.val, judging, spec.seed)
        space = stored or make_space(spec.space, self._estimator.find_spec)
        check_conditions(space, spec.build.get_params(deep=True))
        found = self._estimator.find_objectives(spec.objective, spec.direction)
        super().__init__(space, found, len(judging.parts))

    def given(self) -> dict[str, Any]:
        """Return what the user gave, by its name."""
        return {**self._estimator.given(), **super().given()}

    def parts(self, trial: Trial, name: str, asked: Any, note: Callable[[int, int, float], bool]) -> list[Part]:
        """Return a fit for each fold and seed."""
        return self._estimator.parts(dict(trial.values), self.objectives)

    def equip(self, trial: Trial, held: Callable[[int], Any]) -> None:
        """Let it be fitted to all data."""
        trial.fit = lambda trial: self._estimator.refit(trial.values)


def make_subject(spec: StudySpec, judging: Judging, stored: Space | None, judged: Any) -> Subject:
    """Return what a study is of; of a stored one, that it was given nothing for, what can be read.

    Parameters
    ----------
    spec : StudySpec
    judging : Judging
    stored : Space, optional
        Of a study that is opened again.
    judged : list of (name, direction)
        ... and its objectives.
    """
    if spec.build is None and stored is not None and spec.objective is not None and not callable(spec.objective):
        return Subject(stored, [Objective(*each) for each in judged])
    if spec.build is None:
        return OfFunction(spec, stored)
    if isinstance(spec.build, type) and is_estimator(spec.build, as_class=True):
        rule = _("{name} is a class: give an estimator, {name}()", name=spec.build.__name__)
        raise InvalidHyperparam(_("{rule}; trials fit clones of it.", rule=rule))
    return OfEstimator(spec, stored, judging) if is_estimator(spec.build) else OfModel(spec, stored, judging)
