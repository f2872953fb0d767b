"""How a trial is judged: by one split of the data, by folds, by several seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from nbopt.errors import InvalidHyperparam
from nbopt.hyperparams import Int
from nbopt.i18n import _


class Fold(NamedTuple):
    """Which samples train, and which validate."""

    train: NDArray[np.int64]
    val: NDArray[np.int64]


class Judging:
    """The trainings that a trial is judged by: one for each fold and seed.

    Parameters
    ----------
    cv : int, splitter of scikit-learn, iterable of (train, val) or None
        None: no folds.
    repeats : int
        How many seeds, from the study's on.
    seed : int

    Attributes
    ----------
    folds : list of Fold or None
    """

    def __init__(self, cv: Any, repeats: int, seed: int) -> None:
        number = Int(1, low=1, high=1, ge=1)
        number.name = "repeats"
        self.seeds = [seed + k for k in range(number.check(repeats))]
        self.cv = cv
        self.folds: list[Fold] | None = None

    def split(self, train: Any, classifier: bool | None = None) -> None:
        """Find the folds of the data: stratified where the targets are class labels, as scikit-learn does.

        Raises
        ------
        InvalidHyperparam
            For data that cannot be cut into folds.
        """
        if self.cv is None:
            return
        if not isinstance(train, (tuple, list)) or len(train) != 2:
            raise InvalidHyperparam(_("cv: folds are made of arrays or tensors: give train=(X, y)."))
        labels = train[1].detach().cpu().numpy() if isinstance(train[1], torch.Tensor) else train[1]
        if classifier is None:
            classifier = np.asarray(labels).dtype.kind in "iubUSO"
        from sklearn.model_selection import check_cv

        try:
            splitter = check_cv(self.cv, labels, classifier=classifier)
            rows = train[0] if hasattr(train[0], "shape") or labels is None else np.zeros((len(labels), 1))
            self.folds = [Fold(np.asarray(one), np.asarray(other)) for one, other in splitter.split(rows, labels)]
        except (ValueError, TypeError) as error:
            told = _("cv: {error}", error=error)
            if "groups" in str(error):
                told += " " + _("Give the folds themselves: cv=list(splitter.split(X, y, groups)).")
            raise InvalidHyperparam(told) from error

    @property
    def parts(self) -> list[tuple[int | None, int]]:
        """The fold, or None, and the seed of each training."""
        folds: Sequence[int | None] = [None] if self.folds is None else range(len(self.folds))
        return [(fold, seed) for seed in self.seeds for fold in folds]

    def cut(self, train: Any, fold: int) -> tuple[Any, Any]:
        """Return the samples that train and those that validate."""
        assert self.folds is not None
        x, y = train
        return tuple((_rows(x, index), _rows(y, index)) for index in self.folds[fold])  # type: ignore[return-value]


def _rows(values: Any, index: NDArray[np.int64]) -> Any:
    if values is None:
        return None
    if isinstance(values, torch.Tensor):
        return values[torch.as_tensor(index)]
    from sklearn.utils import _safe_indexing

    return _safe_indexing(values, index)
