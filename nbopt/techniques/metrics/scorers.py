"""Other people's metrics: scikit-learn's scorers and functions, and what has update, compute and reset."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from nbopt.i18n import _
from nbopt.techniques.losses.base import describe

_CHANCES = frozenset(("log_loss", "d2_log_loss_score", "d2_brier_score"))  # that call probabilities y_pred


class Scorer:
    """A scikit-learn scorer, which asks an estimator for predictions: here they are the network's outputs.

    Parameters
    ----------
    scorer : callable
        ``scorer(estimator, X, y)``.
    name : str
        What scikit-learn calls it; "" for one that a user made.

    Attributes
    ----------
    of_numbers : bool or None
        Whether it is of numbers rather than classes; None if only the targets tell.
    """

    def __init__(self, scorer: Any, name: str = "") -> None:
        self.scorer = scorer
        self.name = name
        self.of_numbers = _of_numbers(scorer._score_func)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name or self.scorer!r})"

    def __call__(self, output: Tensor, target: Tensor) -> float:
        """Return the score of scores (n, classes), (n,) or (n, 1), or of numbers, against the targets.

        It is NaN where the model gave out something that is not finite: scikit-learn would raise.
        """
        if output.isnan().any() or (target.is_floating_point() and not output.isfinite().all()):
            return math.nan
        output, target = _without_ignored(output, target)
        return float(self.scorer(_outputs(output, target), output.numpy(), target.numpy()))


class ScoreFunction:
    """A function of `sklearn.metrics`, which takes (y_true, y_pred): labels, probabilities or numbers, as it wants.

    Parameters
    ----------
    function : callable
        One of scikit-learn's, or a `functools.partial` of it.
    """

    def __init__(self, function: Any) -> None:
        self.function = function
        own = _unwrapped(function)
        self.__name__ = own.__name__
        self.of_numbers = _of_numbers(own)
        wanted = list(inspect.signature(own).parameters)[1]
        self._wants = "chances" if wanted in ("y_score", "y_prob", "y_proba") or own.__name__ in _CHANCES else wanted

    def __call__(self, output: Tensor, target: Tensor) -> float:
        """Return its value for scores (n, classes), (n,) or (n, 1), or for numbers."""
        if output.isnan().any():
            return math.nan
        output, target = _without_ignored(output, target)
        return float(self.function(target.numpy(), self._given(output, target)))

    def _given(self, output: Tensor, target: Tensor) -> Any:
        if self.of_numbers:
            return output.numpy()
        outputs = _outputs(output, target.long())
        if self._wants == "chances":
            chances = outputs.predict_proba(None)
            return chances[:, 1] if target.ndim == 1 and chances.shape[1] == 2 else chances
        return outputs.decision_function(None) if self._wants == "pred_decision" else outputs.predict(None)


def _without_ignored(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return them on the CPU, without samples of which a label does not count; of numbers (n, 1), as (n,)."""
    output, target = output.detach().cpu(), target.detach().cpu()
    if target.ndim == 2 and not target.is_floating_point():
        kept = (target != -100).all(1)
        return output[kept], target[kept]
    if target.ndim == 2 and target.shape[1] == 1:
        target = target.squeeze(1)
    return (output.squeeze(1) if output.ndim == 2 and output.shape[1] == 1 else output), target


def _outputs(scores: Tensor, target: Tensor) -> Any:
    """Return what looks like a fitted estimator to a scorer, and predicts what the network gave out."""
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

    if target.is_floating_point():

        class Regressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
            fitted_ = True

            def predict(self, x: Any) -> Any:
                return scores.numpy()

        return Regressor()
    labels = target.ndim == 2  # several a sample
    several = scores.ndim == 2 and not labels
    chances = scores.double().softmax(1) if several else scores.double().sigmoid()
    each = torch.arange(scores.shape[1] if several else 2).numpy()

    class Classifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
        classes_ = [each] * scores.shape[1] if labels else each

        def predict(self, x: Any) -> Any:
            return (scores.argmax(1) if several else (scores > 0).long()).numpy()

        def predict_proba(self, x: Any) -> Any:
            return (chances if several or labels else torch.stack([1 - chances, chances], 1)).numpy()

        def decision_function(self, x: Any) -> Any:
            if several and scores.shape[1] == 2:
                return (scores[:, 1] - scores[:, 0]).numpy()
            return scores.numpy()

    return Classifier()


class Streaming:
    """A metric with ``update(output, target)``, ``compute()`` and ``reset()``, as torchmetrics has them."""

    def __init__(self, metric: Any) -> None:
        self.metric = metric

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.metric!r})"

    def update(self, output: Any, target: Any) -> None:
        """Take in a batch; outputs (n, 1) come as (n,) where the targets do."""
        both = isinstance(output, Tensor) and isinstance(target, Tensor)
        if both and output.ndim == 2 and output.shape[1] == 1 and target.ndim == 1:
            output = output.squeeze(1)
        if isinstance(self.metric, torch.nn.Module) and isinstance(output, Tensor):  # whose sums lie on a device
            self.metric.to(output.device)
        self.metric.update(output, target)

    def value(self) -> float:
        """Return what it makes of the batches so far, and forget them."""
        try:
            return as_number(self.metric.compute())
        finally:
            self.metric.reset()

    def __call__(self, output: Any, target: Any) -> float:
        """Return its value for these alone."""
        self.metric.reset()
        self.update(output, target)
        return self.value()


def as_number(value: Any) -> float:
    """Return what a metric returned; raise TypeError if that is not one number."""
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(_("it must return one number; got {value}", value=describe(value))) from error


def find_scorer(item: Any) -> Scorer | ScoreFunction | None:
    """Return what ``item``, a name, a scorer or a function of scikit-learn's, stands for; None if it is none."""
    from sklearn.metrics import get_scorer, get_scorer_names

    if isinstance(item, str):
        return Scorer(get_scorer(item), item) if item in get_scorer_names() else None
    if type(item).__module__.startswith("sklearn.metrics") and hasattr(item, "_score_func"):
        return Scorer(item)
    own = _unwrapped(item)
    made_there = inspect.isfunction(own) and own.__module__.startswith("sklearn.metrics.")
    return ScoreFunction(item) if made_there and len(inspect.signature(own).parameters) > 1 else None


def _unwrapped(function: Any) -> Any:
    while isinstance(function, partial):
        function = function.func
    return function


def _of_numbers(function: Callable[..., Any]) -> bool | None:
    module = getattr(_unwrapped(function), "__module__", None) or ""
    return module.endswith("_regression") if module.startswith("sklearn.metrics.") else None
