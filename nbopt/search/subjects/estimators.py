"""Trials that fit a scikit-learn estimator, by scikit-learn's own splitters and scorers."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from nbopt.errors import InvalidHyperparam, unknown
from nbopt.hyperparams import Hyperparam
from nbopt.i18n import _
from nbopt.run.spec import RunSpec
from nbopt.search.executors.jobs import Part
from nbopt.search.spaces.dimension import Unbounded
from nbopt.search.subjects.judging import Judging
from nbopt.search.subjects.objectives import DIRECTIONS, Objective

_FOLDS = 5  # where nothing is said, as scikit-learn has it


class Estimator:
    """What trials of an estimator are made of.

    Parameters
    ----------
    estimator : object
        With ``fit``, ``get_params`` and ``set_params``; each trial fits clones.
    train : tuple of arrays (X, y), or X
    val : tuple of arrays, float or None
    judging : Judging
    seed : int
    """

    def __init__(self, estimator: Any, train: Any, val: Any, judging: Judging, seed: int) -> None:
        from sklearn.base import is_classifier
        from sklearn.utils import indexable

        self._estimator, self._judging, self.seed = estimator, judging, seed
        if isinstance(train, tuple) and len(train) != 2:
            raise InvalidHyperparam(_("train: an estimator is fitted to (X, y); got {count} parts.", count=len(train)))
        pair = isinstance(train, (tuple, list)) and len(train) == 2
        self._train = (train[0], train[1]) if pair else (train, None)
        self._val = val
        _check_lengths("train", self._train)
        self._train = tuple(indexable(*self._train))  # of sparse matrices, not all are
        if val is not None and not isinstance(val, numbers.Real):
            self._val = _as_pair(val, self._train)
            _check_lengths("val", self._val)
        classifier = bool(is_classifier(estimator))
        if isinstance(val, numbers.Real):
            from sklearn.model_selection import train_test_split

            labels = self._train[1] if classifier else None
            given = [part for part in self._train if part is not None]
            cut = train_test_split(*given, test_size=float(val), random_state=seed, stratify=labels)
            self._train, self._val = ((part[0], part[1] if len(part) > 1 else None) for part in (cut[0::2], cut[1::2]))
        if self._val is None and judging.cv is None:
            judging.cv = _FOLDS
        judging.split(self._train, classifier)

    def find_spec(self, name: str, _bounds: Any = None) -> Hyperparam[Any]:
        """Return what is known of a parameter: that there is one."""
        known = self._estimator.get_params(deep=True)
        if name not in known:
            raise unknown(_("parameter of {kind}", kind=type(self._estimator).__name__), name, known)
        spec = Unbounded(known[name])
        spec.name = name
        return spec

    def find_objectives(self, given: Any, direction: Any) -> list[Objective]:
        """Return the scorers that are meant, of which more is better; by default the estimator's own score."""
        from sklearn.metrics import check_scoring, get_scorer_names

        if direction not in (None, "maximize"):
            rule = _("of scikit-learn's scorers more is better")
            way = _("give a 'neg_...' one, or make_scorer(..., greater_is_better=False)")
            raise InvalidHyperparam(_("direction: {rule}; {way}.", rule=rule, way=way))
        found = []
        for each in given if isinstance(given, (list, tuple)) else [given]:
            each = None if isinstance(each, str) and each == "val_loss" else each
            if isinstance(each, str) and each not in get_scorer_names():
                raise unknown(_("objective"), each, get_scorer_names())
            try:
                scorer = check_scoring(self._estimator, scoring=each)
            except (ValueError, TypeError) as error:
                raise InvalidHyperparam(_("objective: {error}", error=error)) from error
            name = each if isinstance(each, str) else "score" if each is None else getattr(each, "__name__", "score")
            found.append(Objective(name, DIRECTIONS[1], scorer))
        return found

    def given(self) -> dict[str, Any]:
        """Return what the user gave, by its name."""
        return {"build": self._estimator, "train": self._train, "val": self._val}

    def parts(self, values: Mapping[str, Any], objectives: list[Objective]) -> list[Part]:
        """Return the fits of a trial."""
        return [Part(partial(self._fit, values, objectives, *key)) for key in self._judging.parts]

    def refit(self, values: Mapping[str, Any]) -> Any:
        """Return an estimator with these values, fitted to all training data."""
        x, y = self._train
        made = self._make(values, self.seed)
        return made.fit(x) if y is None else made.fit(x, y)

    def _make(self, values: Mapping[str, Any], seed: int) -> Any:
        from sklearn.base import clone

        made = clone(self._estimator).set_params(**clone_values(values))
        open_seeds = {name: seed for name, value in made.get_params().items() if _is_open_seed(name, value)}
        return made.set_params(**open_seeds)

    def _fit(
        self, values: Mapping[str, Any], objectives: list[Objective], fold: int | None, seed: int
    ) -> tuple[float, ...]:
        train, val = (self._train, self._val) if fold is None else self._judging.cut(self._train, fold)
        made = self._make(values, seed)
        fitted = made.fit(train[0]) if train[1] is None else made.fit(*train)
        return tuple(float(each.function(fitted, *val)) for each in objectives if each.function is not None)


def _as_pair(val: Any, train: tuple[Any, Any]) -> tuple[Any, Any]:
    """Return validation data as (X, y), or (X, None) where nothing else trains."""
    if isinstance(val, (tuple, list)) and len(val) == 2:
        return val[0], val[1]
    if train[1] is None and (getattr(val, "ndim", 0) or np.ndim(val)) > 1:
        return val, None
    way = _("both pairs, as train=(X, y), val=(X_val, y_val); or val a share, as 0.2")
    rule = _("an estimator is fitted to (X, y), and scored on such")
    raise InvalidHyperparam(_("train and val: {rule}: give {way}.", rule=rule, way=way))


def _check_lengths(name: str, parts: Any) -> None:
    # A sparse matrix has rows, and no length.
    lengths = [part.shape[0] if hasattr(part, "shape") else len(part) for part in parts if part is not None]
    if len(set(lengths)) > 1:
        told = " / ".join(map(str, lengths))
        raise ValueError(_("the parts of {name} differ in length: {lengths} samples.", name=name, lengths=told))


def clone_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values to be set, estimators among them as clones."""
    from sklearn.base import clone

    return {name: clone(value, safe=False) for name, value in values.items()}


def refuse_settings(run: RunSpec) -> None:
    """Raise InvalidHyperparam for what is given for runs, which there are none of."""
    plain = RunSpec(run.model, run.train)
    names = ("loss", "forward", "optimizer", "metrics", "techniques")
    given = [name for name in names if getattr(run, name) != getattr(plain, name)] + list(run.hyperparams)
    if given:
        rule = _("an estimator is fitted by itself, and no run uses it")
        raise InvalidHyperparam(_("{names}: {rule}: leave it out.", names=", ".join(given), rule=rule))


def is_estimator(build: Any, as_class: bool = False) -> bool:
    """Whether this is a scikit-learn estimator, or the class of one."""
    whole = all(hasattr(build, name) for name in ("fit", "get_params", "set_params"))
    return isinstance(build, type) is as_class and whole


def _is_open_seed(name: str, value: Any) -> bool:
    return value is None and name.rpartition("__")[2] == "random_state"
