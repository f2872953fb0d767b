"""Metrics of a run's outputs, beside its loss. A new one costs one function and one entry in `METRICS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from nbopt.names import InvalidHyperparam, unknown
from nbopt.parts.scorers import Streaming, find_scorer
from nbopt.words import _

Metric = Callable[[Tensor, Tensor], Any]


def accuracy(output: Tensor, target: Tensor) -> Tensor:
    """Share of samples whose highest score is their class's; for one score a sample, whose sign is right."""
    if output.ndim > 1 and output.shape[1] > 1:
        labels = target.argmax(1) if target.shape == output.shape else target
        return (output.argmax(1) == labels).float().mean()
    return ((output > 0).flatten() == (target > 0.5).flatten()).float().mean()


def r2(output: Tensor, target: Tensor) -> Tensor:
    """Coefficient of determination: 1 - sum (y - f)^2 / sum (y - mean y)^2."""
    f, y = _columns(output, target)
    return 1 - ((y - f) ** 2).sum() / ((y - y.mean(0)) ** 2).sum()


def mae(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error."""
    f, y = _columns(output, target)
    return (y - f).abs().mean()


def rmse(output: Tensor, target: Tensor) -> Tensor:
    """Root of the mean squared error."""
    f, y = _columns(output, target)
    return ((y - f) ** 2).mean().sqrt()


def count_hits(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return, for each class, right, predicted and actual samples.

    Of two classes, only the second one; of several, those that are predicted or actual.
    """
    several = output.ndim > 1 and output.shape[1] > 1
    guess = output.argmax(1).flatten() if several else (output > 0).long().flatten()
    if several and target.shape == output.shape:
        target = target.argmax(1)
    labels = target.long().flatten()
    classes = output.shape[1] if several else 2
    hits = torch.bincount(labels[guess == labels], minlength=classes).float()
    predicted = torch.bincount(guess, minlength=classes).float()
    actual = torch.bincount(labels, minlength=classes).float()
    kept = predicted + actual > 0
    if classes == 2:
        kept = torch.arange(2, device=labels.device) == 1
    return hits[kept], predicted[kept], actual[kept]


def precision(output: Tensor, target: Tensor) -> Tensor:
    """Share of those predicted to be of a class that are; the mean over classes."""
    hits, predicted, _actual = count_hits(output, target)
    return (hits / predicted.clamp(min=1)).mean()


def recall(output: Tensor, target: Tensor) -> Tensor:
    """Share of a class that is predicted to be of it; the mean over classes."""
    hits, _predicted, actual = count_hits(output, target)
    return (hits / actual.clamp(min=1)).mean()


def f1(output: Tensor, target: Tensor) -> Tensor:
    """Harmonic mean of precision and recall of a class; the mean over classes."""
    hits, predicted, actual = count_hits(output, target)
    return (2 * hits / (predicted + actual).clamp(min=1)).mean()


def rank_area(scores: Tensor, positive: Tensor) -> Tensor:
    """Return the area under the curve, by ranks (Hanley and McNeil 1982)."""
    found = torch.unique(scores, return_inverse=True, return_counts=True)
    where, counts = found[1], found[2]
    ends = counts.cumsum(0).double()
    ranks = (ends - (counts.double() - 1) / 2)[where]
    n = positive.double().sum()
    above = ranks[positive].sum() - n * (n + 1) / 2
    area: Tensor = above / (n * (len(scores) - n))
    return area


def roc_auc(output: Tensor, target: Tensor) -> Tensor:
    """Area under the ROC curve; of several classes, the mean of one against all."""
    if output.ndim == 1 or output.shape[1] == 1:
        return rank_area(output.flatten().double(), target.flatten() > 0.5)
    if target.shape == output.shape:
        target = target.argmax(1)
    chances = output.double().softmax(1)
    if output.shape[1] == 2:
        scores = output[:, 1].double() - output[:, 0].double()
        return rank_area(scores, target == 1)
    areas = [rank_area(chances[:, k], target == k) for k in range(output.shape[1])]
    return torch.stack(areas).mean()


METRICS: dict[str, Metric] = {
    "accuracy": accuracy,
    "precision": precision,
    "recall": recall,
    "f1": f1,
    "roc_auc": roc_auc,
    "r2": r2,
    "mae": mae,
    "rmse": rmse,
}


def find_metric(item: Any) -> Metric | None:
    """Return the metric that ``item``, a name, a scorer or an object, stands for; None if it is none of these."""
    if isinstance(item, str) and item in METRICS:
        return METRICS[item]
    if (scorer := find_scorer(item)) is not None:
        return scorer
    if all(callable(getattr(item, part, None)) for part in ("update", "compute", "reset")):
        return Streaming(item)
    return item if callable(item) else None


def as_metrics(given: object) -> dict[str, Metric]:
    """Return metrics by name.

    Parameters
    ----------
    given : None, str, callable, list of these, or mapping from name to callable
        A name stands for one of `METRICS` or a scorer of scikit-learn's. A callable takes (output, target) of all
        validation samples and returns one number. An object with update, compute and reset is asked by these.

    Raises
    ------
    InvalidHyperparam
        For an unknown name, anything that cannot be called, or a name that is taken.
    """
    if given is None:
        return {}
    if isinstance(given, Mapping):
        pairs = list(given.items())
    else:
        items = given if isinstance(given, (list, tuple)) else [given]
        pairs = [(_name_of(item), item) for item in items]
    found: dict[str, Metric] = {}
    for name, item in pairs:
        metric = find_metric(item)
        if metric is None:
            others = ["callable(output, target)", _("a scorer of scikit-learn's")]
            raise unknown(_("metric"), item, [*METRICS, *others])
        if name == "loss" or name in found:
            raise InvalidHyperparam(_("the name {name!r} is taken: give metrics as {{name: callable}}.", name=name))
        found[str(name)] = metric
    return found


def _name_of(item: object) -> str:
    return item if isinstance(item, str) else getattr(item, "__name__", type(item).__name__)


def _columns(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    f = output.double().reshape(len(output), -1)
    return f, target.double().reshape(f.shape)
