"""Metrics of a run's outputs, beside its loss. A new one costs one function and one entry in `METRICS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from nbopt.names import InvalidHyperparam, unknown
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


METRICS: dict[str, Metric] = {"accuracy": accuracy, "r2": r2, "mae": mae, "rmse": rmse}


def as_metrics(given: object) -> dict[str, Metric]:
    """Return metrics by name.

    Parameters
    ----------
    given : None, str, callable, list of these, or mapping from name to callable
        A callable takes (output, target) of all validation samples and returns one number.

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
        if isinstance(item, str):
            if item not in METRICS:
                raise unknown(_("metric"), item, METRICS)
            item = METRICS[item]
        elif not callable(item):
            raise unknown(_("metric"), item, [*METRICS, "callable(output, target)"])
        if name == "loss" or name in found:
            raise InvalidHyperparam(_("the name {name!r} is taken: give metrics as {{name: callable}}.", name=name))
        found[str(name)] = item
    return found


def _name_of(item: object) -> str:
    return item if isinstance(item, str) else getattr(item, "__name__", type(item).__name__)


def _columns(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    f = output.double().reshape(len(output), -1)
    return f, target.double().reshape(f.shape)
