"""Metrics of a run's outputs, beside its loss. A new one costs one function and one entry in `METRICS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from nbopt.errors import InvalidHyperparam, unknown
from nbopt.i18n import _
from nbopt.techniques.metrics.scorers import ScoreFunction, Scorer, Streaming, find_scorer

Metric = Callable[[Tensor, Tensor], Any]


def count_right(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return how many labels are guessed right, and how many there are."""
    if output.ndim > 1 and output.shape[1] > 1:
        if target.shape == output.shape and not target.is_floating_point():
            right = (output > 0) == (target == 1)
            return right[target != -100].sum(), (target != -100).sum()
        labels = target.argmax(1) if target.shape == output.shape else target
        right = output.argmax(1) == labels
        return right[labels != -100].sum(), (labels != -100).sum()
    right = (output > 0).flatten() == (target > 0.5).flatten()
    kept = target.flatten() != -100
    return right[kept].sum(), kept.sum()


def accuracy(output: Tensor, target: Tensor) -> Tensor:
    """Share of labels guessed right: by the highest score, or the only one's sign."""
    return share(*count_right(output, target))


def share(part: Tensor, whole: Tensor) -> Tensor:
    """Return a part of a whole."""
    return part / whole


def sum_squares(output: Tensor, target: Tensor) -> tuple[Tensor, ...]:
    """Return samples, and sums of y, y^2 and (y - f)^2, for each number of a sample."""
    f, y = _columns(output, target)
    count = torch.full_like(y[0], len(y))
    return count, y.sum(0), (y**2).sum(0), ((y - f) ** 2).sum(0)


def r2_of(count: Tensor, total: Tensor, squares: Tensor, missed: Tensor) -> Tensor:
    """Return the coefficient of determination; 1 for constant targets that are met."""
    spread = squares - total**2 / count
    constant = spread <= 1e-13 * squares  # but for rounding
    return torch.where(constant, (missed == 0).double(), 1 - missed / spread).mean()


def r2(output: Tensor, target: Tensor) -> Tensor:
    """Coefficient of determination, the mean over the numbers of a sample.

    That is 1 - sum (y - f)^2 / sum (y - mean y)^2.
    """
    return r2_of(*sum_squares(output, target))


def sum_errors(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum of absolute errors, and how many there are."""
    f, y = _columns(output, target)
    return (y - f).abs().sum(), torch.tensor(y.numel())


def mae(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error."""
    return share(*sum_errors(output, target))


def sum_squared_errors(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum of squared errors, and how many there are."""
    f, y = _columns(output, target)
    return ((y - f) ** 2).sum(), torch.tensor(y.numel())


def root_of_share(part: Tensor, whole: Tensor) -> Tensor:
    """Return the root of a part of a whole."""
    return (part / whole).sqrt()


def rmse(output: Tensor, target: Tensor) -> Tensor:
    """Root of the mean squared error, the mean of all numbers of all samples.

    So do torchmetrics and Keras; `sklearn.metrics.root_mean_squared_error` is the
    mean of a root for each number of a sample.
    """
    return root_of_share(*sum_squared_errors(output, target))


def count_hits(output: Tensor, target: Tensor) -> tuple[Tensor, ...]:
    """Return right, predicted and actual samples of each class, and whether it counts.

    Of two classes, only the second one counts; of more, those that are predicted or
    actual; of several labels a sample, (n, labels) integers, all of them.
    """
    several = output.ndim > 1 and output.shape[1] > 1
    if several and target.shape == output.shape and not target.is_floating_point():
        guess, actual = (output > 0) & (target != -100), target == 1
        hits = (guess & actual).sum(0)
        return hits, guess.sum(0), actual.sum(0), torch.ones_like(hits)
    guess = output.argmax(1).flatten() if several else (output > 0).long().flatten()
    if several and target.shape == output.shape:
        target = target.argmax(1)
    labels = target.long().flatten()
    guess, labels = guess[labels != -100], labels[labels != -100]
    classes = output.shape[1] if several else 2
    hits = torch.bincount(labels[guess == labels], minlength=classes)
    predicted = torch.bincount(guess, minlength=classes)
    actual = torch.bincount(labels, minlength=classes)
    counts = predicted + actual
    if classes == 2:
        counts = torch.tensor([0, 1], device=labels.device)
    return hits, predicted, actual, counts


def precision_of(*sums: Tensor) -> Tensor:
    """Return the mean precision of the classes that count."""
    hits, predicted, _actual, counts = sums
    return (hits / predicted.clamp(min=1))[counts > 0].mean()


def precision(output: Tensor, target: Tensor) -> Tensor:
    """Share of those predicted to be of a class that are; the mean over classes."""
    return precision_of(*count_hits(output, target))


def recall_of(*sums: Tensor) -> Tensor:
    """Return the mean recall of the classes that count."""
    hits, _predicted, actual, counts = sums
    return (hits / actual.clamp(min=1))[counts > 0].mean()


def recall(output: Tensor, target: Tensor) -> Tensor:
    """Share of a class that is predicted to be of it; the mean over classes."""
    return recall_of(*count_hits(output, target))


def f1_of(*sums: Tensor) -> Tensor:
    """Return the mean F1 of the classes that count."""
    hits, predicted, actual, counts = sums
    return (2 * hits / (predicted + actual).clamp(min=1))[counts > 0].mean()


def f1(output: Tensor, target: Tensor) -> Tensor:
    """Harmonic mean of precision and recall of a class; the mean over classes."""
    return f1_of(*count_hits(output, target))


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
    """Area under the ROC curve; the mean over labels, or over classes against all."""
    if output.ndim == 1 or output.shape[1] == 1:
        kept = target.flatten() != -100
        return rank_area(output.flatten()[kept].double(), target.flatten()[kept] > 0.5)
    if target.shape == output.shape and not target.is_floating_point():
        pairs = [(output[:, k].double(), target[:, k]) for k in range(output.shape[1])]
        areas = [rank_area(scores[y != -100], y[y != -100] == 1) for scores, y in pairs]
        return torch.stack(areas).mean()
    if target.shape == output.shape:
        target = target.argmax(1)
    output, target = output[target != -100], target[target != -100]
    if output.shape[1] == 2:
        scores = output[:, 1].double() - output[:, 0].double()
        return rank_area(scores, target == 1)
    chances = output.double().softmax(1)
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


NUMBERS: set[Metric] = {r2, mae, rmse}
"""Those of numbers; the others are of classes."""

SUMS: dict[Metric, tuple[Callable[[Tensor, Tensor], tuple[Tensor, ...]], Callable[..., Tensor]]] = {
    accuracy: (count_right, share),
    precision: (count_hits, precision_of),
    recall: (count_hits, recall_of),
    f1: (count_hits, f1_of),
    r2: (sum_squares, r2_of),
    mae: (sum_errors, share),
    rmse: (sum_squared_errors, root_of_share),
}
"""Those that are worked out from sums over batches: what is summed, and what is made of the sums."""


def is_streaming(item: Any) -> bool:
    """Whether ``item`` takes in batches itself."""
    return all(callable(getattr(item, part, None)) for part in ("update", "compute", "reset"))


def is_known(metric: Metric) -> bool:
    """Whether a metric is one of those that nbopt or scikit-learn name, which take one output and its target."""
    return isinstance(metric, (Scorer, ScoreFunction)) or any(metric is known for known in METRICS.values())


def name_of_metric(metric: Any) -> str:
    """Return the name that stands for a metric; "" for one of the user's own."""
    if isinstance(metric, Scorer):
        return metric.name
    return next((name for name, known in METRICS.items() if known is metric), "")


def find_metric(item: Any) -> Metric | None:
    """Return the metric that ``item``, a name, a scorer or an object, stands for; None if it is none of these."""
    if isinstance(item, str) and item in METRICS:
        return METRICS[item]
    if (scorer := find_scorer(item)) is not None:
        return scorer
    if is_streaming(item):
        return Streaming(item)
    return item if callable(item) else None


def as_metrics(given: object) -> dict[str, Metric]:
    """Return metrics by name.

    Parameters
    ----------
    given : None, str, callable, list of these, or mapping from name to callable
        A name stands for one of `METRICS` or a scorer of scikit-learn's. Functions of `sklearn.metrics` get the truth
        first, and labels, probabilities or numbers as they want. Any other callable takes (output, target) of all
        validation samples, as the model and the data give them, and returns one number; where they are no tensors or
        differ in shape from batch to batch, it takes batches, which count by their labels. An object with update,
        compute and reset gets batches; a collection of these is taken apart.

    Raises
    ------
    InvalidHyperparam
        For an unknown name, anything that cannot be called, or a name that is taken.
    """
    if given is None:
        return {}
    if isinstance(given, Mapping) and not is_streaming(given):
        pairs = list(given.items())
    else:
        items = given if isinstance(given, (list, tuple)) else [given]
        pairs = [pair for item in items for pair in _named(item)]
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


def _named(item: Any) -> list[tuple[str, Any]]:
    """Return a metric with its name; of a collection, as torchmetrics has them, each one."""
    if is_streaming(item) and callable(getattr(item, "items", None)):
        return [(str(name), each) for name, each in item.items()]
    return [(_name_of(item), item)]


def _name_of(item: object) -> str:
    while isinstance(item, partial):
        item = item.func
    return item if isinstance(item, str) else getattr(item, "__name__", type(item).__name__)


def _columns(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    f = output.double().reshape(len(output), -1)
    return f, target.double().reshape(f.shape)
