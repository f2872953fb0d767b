"""What trials are made of: a model or a function that builds one, data, and the settings of a run."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from nbopt.data.noise import INITIALIZATION, Noise, derive_seed
from nbopt.errors import InvalidHyperparam, shorten, unknown
from nbopt.hyperparams import Hyperparam, Hyperparams, Tunable
from nbopt.i18n import _
from nbopt.run.copies.copying import Copies
from nbopt.run.declared import declare_all, find_loss
from nbopt.run.making import make_history
from nbopt.run.run import Run
from nbopt.run.spec import RunSpec
from nbopt.search.executors.checkpoints import Checkpoint, continue_from
from nbopt.search.spaces.given import anything
from nbopt.search.spaces.space import Space
from nbopt.search.subjects.judging import Judging
from nbopt.store.database import Place
from nbopt.techniques.catalogue import ALWAYS, values_off
from nbopt.techniques.metrics.by_output import read_metrics
from nbopt.techniques.models import FAMILIES
from nbopt.techniques.plan import Plan

# A trial is of the values that it was given: nothing sends it back to try others, unless somebody asks for it.
_STEADY = values_off(ALWAYS, "find_trouble")

_TRIED = (0.5, 0.0, 1.0, 0.25, 0.75)  # of each range, until a model can be built

PartKey = tuple[int | None, int]
"""The fold, or None, and the seed of a training."""


class Blueprint:
    """Makes the run of a trial.

    Parameters
    ----------
    build : torch.nn.Module or callable
        A model, of which each trial trains a copy, or what returns one: a function of the values that it names, of a
        mapping of all values, or a class of `nbopt.models`.
    spec : RunSpec
        All that trials have in common, without a model.
    names : iterable of str
        The dimensions of the space.
    judging : Judging

    Attributes
    ----------
    built : list of str
        The names that ``build`` is called with.
    weights : int
        How many the first model has.
    shapes : float
        How many models that are built differently there may be for each fold.
    """

    def __init__(self, build: Any, spec: RunSpec, names: Iterable[str], judging: Judging) -> None:
        if isinstance(spec.optimizer, torch.optim.Optimizer):
            rule = _("an optimizer that exists holds the weights of one model, and each trial trains its own")
            raise TypeError(_("optimizer: {rule}. Give its name, its class or functools.partial.", rule=rule))
        if not isinstance(build, nn.Module) and not callable(build):
            rule = _("build must be a torch.nn.Module or a callable that returns one")
            raise TypeError(_("{rule}; got {value}.", rule=rule, value=shorten(build)))
        self._build, self._judging = build, judging
        self._spec = replace(spec, listed=False, store=None, hyperparams={**_STEADY, **spec.hyperparams})
        self.weights, self.shapes = 0, 1.0
        self.built, self._takes_all = _find_arguments(build, list(names))
        self._data: dict[tuple[int | None, int], Mapping[str, Any]] = {}

    # -- what is known before the first trial

    @property
    def runs(self) -> int:
        """How many a trial has: one for each fold and seed."""
        return len(self._judging.parts)

    def declare(self, first: Mapping[str, Any]) -> tuple[Hyperparams, list[str], int]:
        """Return a run's hyperparameters, what its history will hold, and how often it is validated at most."""
        spec = self.spec(first, None, self._judging.parts[0]).checked()
        self.weights = sum(weight.numel() for weight in spec.model.parameters())
        hyperparams = spec.declare()
        loss = find_loss(hyperparams)
        own = [name for technique in spec.techniques for name in technique.measures]
        measures = ["loss", *loss.measures, *read_metrics(spec.metrics, spec.loss)]
        history = make_history(measures, own, loss.measures, spec.val is not None)
        plan = Plan.of(hyperparams)
        if plan.steps and plan.validate_every:
            reports = math.ceil(plan.steps / plan.validate_every)
        else:
            reports = plan.epochs if plan.epochs < math.inf and not plan.steps else 100
        return hyperparams, sorted(history.expected), int(reports)

    def declare_some(self, built: Space) -> tuple[Hyperparams, list[str], int]:
        """Return what `declare` does, for the first of some places of what is built at which there is a model.

        Raises
        ------
        Exception
            What ``build`` raised first, if it raises at all of them: some values may not go together.
        """
        raised: Exception | None = None
        for share in _TRIED if self.built else _TRIED[:1]:
            try:
                return self.declare(built.reduced({each.name: each.at(share) for each in built.values()}))
            except Exception as error:  # whatever ``build`` raises
                raised = raised or error
        assert raised is not None
        raise raised

    def count_shapes(self, space: Space) -> None:
        """Find out how many ways of building a model there are in a space."""
        self.shapes = math.prod(space[name].count or math.inf for name in self.built)
        self.shapes /= 1 if self._judging.folds is None else len(self._judging.folds)

    def find_spec(self, hyperparams: Hyperparams | None, name: str, bounds: Any) -> Hyperparam[Any]:
        """Return the declaration of a name: of what is built, else of the run.

        What a function of the user's takes is declared by ``bounds``, whatever nbopt's own models have by that name.
        """
        target = _unwrapped(self._build)
        if name in self.built:
            declared = target.declared() if _is_tunable(target) else {}
            if name in declared:
                found: Hyperparam[Any] = declared[name]
                return found
            if bounds is not None:
                return anything(name, bounds)
            for family in FAMILIES.values():
                if name in family.declared():
                    return family.declared()[name]
            text = _("{name} is an argument of your own: say what to try, as space=", name=name)
            raise InvalidHyperparam(text + f"{{{name!r}: (16, 256)}}.")
        if hyperparams is None or name not in hyperparams:
            known = [*self.built, *(hyperparams or {})]
            synonyms = {} if hyperparams is None else hyperparams.synonyms
            raise unknown(_("dimension of the space"), name, known, synonyms)
        return hyperparams.spec(name)

    def fixed(self, hyperparams: Mapping[str, Any]) -> dict[str, Any]:
        """Return what all trials have where the space does not say otherwise: of runs, and of what is built."""
        target, bound = _unwrapped(self._build), getattr(self._build, "keywords", {})
        if isinstance(self._build, nn.Module):
            return dict(hyperparams)
        if _is_tunable(target):
            return {**hyperparams, **{name: spec.default for name, spec in target.declared().items()}, **bound}
        known = inspect.signature(self._build).parameters.values()
        return {**hyperparams, **{each.name: each.default for each in known if each.default is not each.empty}, **bound}

    def check_defaults(self, space: Space) -> None:
        """Raise InvalidHyperparam where ``build`` needs what does not matter in each trial, and is left out then."""
        if isinstance(self._build, nn.Module) or self._takes_all or _is_tunable(_unwrapped(self._build)):
            return
        known = inspect.signature(self._build).parameters
        for name in self.built:
            if space[name].when and name in known and known[name].default is inspect.Parameter.empty:
                rule = _("where it does not matter, build is called without it")
                raise InvalidHyperparam(_("{name}: {rule}: give that argument a default.", name=name, rule=rule))

    # -- one trial

    def spec(self, values: Mapping[str, Any], name: str | None = None, part: PartKey | None = None) -> RunSpec:
        """Return what a run of a trial with these values is made with; its weights follow from the seed."""
        data = {} if part is None else self.data(part)
        given = {**self._spec.hyperparams, **self.own(values)}
        parts = {"model": self._build, "loss": self._spec.loss, "forward": self._spec.forward}
        if not isinstance(self._build, nn.Module):
            parts["model"] = self._call(values, data.get("seed", self._spec.seed))
        copies = Copies(parts)
        made = {key: copies.of(key) for key in parts if key != "model" or isinstance(self._build, nn.Module)}
        copies.hook()
        return replace(self._spec, **{"model": parts["model"], **made, **data}, hyperparams=given, name=name)

    def data(self, part: PartKey) -> Mapping[str, Any]:
        """Return the data and the seed of a part, as fields of a `RunSpec`."""
        if part not in self._data:
            fold, seed = part
            own = (
                {}
                if fold is None
                else dict(zip(("train", "val"), self._judging.cut(self._spec.train, fold), strict=True))
            )
            self._data[part] = {"seed": seed, **own}
        return self._data[part]

    def own(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return those of a trial's values that are hyperparameters of a run."""
        return {key: value for key, value in values.items() if key not in self.built}

    def given(self) -> dict[str, Any]:
        """Return what the user gave, by its name."""
        names = ("train", "val", "loss", "forward", "optimizer", "metrics", "techniques")
        return {"build": self._build, **{name: getattr(self._spec, name) for name in names}, **self._spec.hyperparams}

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what later trials find out anew where this goes."""
        return {**vars(self), "_data": {}}

    def resume(self, values: Mapping[str, Any], checkpoint: Checkpoint, name: str, store: Place | None) -> Run:
        """Return the run of a trial that was trained elsewhere, at rest where it ended."""
        run = Run.of(replace(self.spec(values, name, self._whole), store=store, listed=True))
        continue_from(run, checkpoint)
        run.journal.event(run.step_count, "branch", name)
        return run

    @property
    def _whole(self) -> PartKey | None:
        return (None, self._spec.seed) if self._judging.folds is None else None

    def again(self, values: Mapping[str, Any], steps: int, whole: bool, name: str, store: Place | None) -> Run:
        """Return the run of a trial that is no longer held, with its steps done again, ``whole`` or so many of them."""
        run = Run.of(replace(self.spec(values, name, self._whole), store=store, listed=True))
        if whole:
            run.fit()
        elif steps:
            run.step(steps)
        return run

    def keep_data(self, part: PartKey, session: Any) -> None:
        """Let later trials use the data of a part as this one's run found them."""
        known = self._data[part]
        if "origin" not in known and "batch_size" not in session.inert:
            share = self._spec.val if isinstance(self._spec.val, float) else None
            found = {"train": session.training.cursor.source, "val": session.training.val}
            self._data[part] = {**known, **found, "origin": known.get("train", self._spec.train), "val_fraction": share}

    def shape(self, values: Mapping[str, Any], seed: int) -> tuple[Any, ...]:
        """Return what tells apart runs that begin with other models."""
        drawn = () if isinstance(self._build, nn.Module) else (seed,)
        return (*drawn, *((name, repr(values[name])) for name in self.built if name in values))

    @property
    def techniques(self) -> Any:
        """The techniques of the user's own."""
        return self._spec.techniques or ()

    def _call(self, values: Mapping[str, Any], seed: int) -> nn.Module:
        noise = Noise(torch.device("cpu"), self._build)
        with noise.lock, noise.seeded(derive_seed(seed, INITIALIZATION)):
            named = {name: values[name] for name in self.built if name in values}
            made = self._build(dict(values)) if self._takes_all else self._build(**named)
        if not isinstance(made, nn.Module):
            raise TypeError(_("build must return a torch.nn.Module; it returned {value}.", value=shorten(made)))
        return made


def _find_arguments(build: Any, names: list[str]) -> tuple[list[str], bool]:
    """Return the names that ``build`` is called with, and whether it takes all values as a mapping."""
    if isinstance(build, nn.Module):
        return [], False
    target = _unwrapped(build)
    bound = set(build.keywords) if isinstance(build, functools.partial) else set()
    if _is_tunable(target):
        return [name for name in names if name in target.declared()], False
    known = inspect.signature(build).parameters.values()
    plain = [
        each for each in known if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
    ]
    taken = [each.name for each in plain if each.name in names and each.name not in bound]
    if any(each.kind is each.VAR_KEYWORD for each in known):
        taken += [name for name in names if name not in {*taken, *bound, *declare_all()}]
    needed = [each.name for each in plain if each.default is each.empty and each.name not in taken]
    if len(needed) == 1 and not taken:
        return [name for name in names if name not in declare_all()], True
    if needed:
        way = _("add it to the space, or give it a default")
        raise InvalidHyperparam(_("build needs {name}, which is no dimension: {way}.", name=needed[0], way=way))
    return taken, False


def _unwrapped(build: Any) -> Any:
    return build.func if isinstance(build, functools.partial) else build


def _is_tunable(target: Any) -> bool:
    return isinstance(target, type) and issubclass(target, Tunable)
