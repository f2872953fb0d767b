"""Other people's metrics: scikit-learn's scorers, and what has update, compute and reset, as torchmetrics does."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


class Scorer:
    """A scikit-learn scorer, which asks an estimator for predictions: here they are the network's outputs.

    Parameters
    ----------
    scorer : callable
        ``scorer(estimator, X, y)``.
    name : str
        What scikit-learn calls it; "" for one that a user made.
    """

    def __init__(self, scorer: Any, name: str = "") -> None:
        self.scorer = scorer
        self.name = name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name or self.scorer!r})"

    def __call__(self, output: Tensor, target: Tensor) -> float:
        """Return the score of scores (n, classes), (n,) or (n, 1), or of numbers, against the targets.

        It is NaN where the model gave out something that is not finite: scikit-learn would raise.
        """
        if not output.isfinite().all():
            return math.nan
        return float(self.scorer(_outputs(output, target), output.cpu().numpy(), target.cpu().numpy()))


def _outputs(output: Tensor, target: Tensor) -> Any:
    """Return what looks like a fitted estimator to a scorer, and predicts what the network gave out."""
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

    scores = output.detach().cpu().squeeze(1) if output.ndim == 2 and output.shape[1] == 1 else output.detach().cpu()
    if target.is_floating_point():

        class Regressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
            fitted_ = True

            def predict(self, x: Any) -> Any:
                return scores.numpy()

        return Regressor()
    several = scores.ndim == 2
    chances = scores.double().softmax(1) if several else scores.double().sigmoid()

    class Classifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
        classes_ = torch.arange(scores.shape[1] if several else 2).numpy()

        def predict(self, x: Any) -> Any:
            return (scores.argmax(1) if several else (scores > 0).long()).numpy()

        def predict_proba(self, x: Any) -> Any:
            return (chances if several else torch.stack([1 - chances, chances], 1)).numpy()

        def decision_function(self, x: Any) -> Any:
            if several and scores.shape[1] == 2:
                return (scores[:, 1] - scores[:, 0]).numpy()
            return scores.numpy()

    return Classifier()


class Streaming:
    """A metric with ``update(output, target)``, ``compute()`` and ``reset()``."""

    def __init__(self, metric: Any) -> None:
        self.metric = metric

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.metric!r})"

    def __call__(self, output: Tensor, target: Tensor) -> float:
        """Return its value for these alone; outputs (n, 1) come as (n,) where the targets do."""
        if output.ndim == 2 and output.shape[1] == 1 and target.ndim == 1:
            output = output.squeeze(1)
        if isinstance(self.metric, torch.nn.Module):  # as torchmetrics' are, whose sums lie on a device
            self.metric.to(output.device)
        self.metric.reset()
        self.metric.update(output, target)
        value = float(self.metric.compute())
        self.metric.reset()
        return value


def find_scorer(item: Any) -> Scorer | None:
    """Return the scorer that ``item``, a name or a scorer of scikit-learn's, stands for; None if it is neither."""
    from sklearn.metrics import get_scorer, get_scorer_names

    if isinstance(item, str):
        return Scorer(get_scorer(item), item) if item in get_scorer_names() else None
    made_there = type(item).__module__.startswith("sklearn.metrics") and hasattr(item, "_score_func")
    return Scorer(item) if made_there else None
