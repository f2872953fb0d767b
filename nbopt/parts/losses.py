"""The losses there are, and what a run makes of the one it is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from nbopt.hyperparams import Hyperparam, Strategy, variant
from nbopt.names import unknown
from nbopt.parts.classification_losses import BinaryCrossEntropy, BinaryFocal, BinaryHinge, CrossEntropy, Focal, Hinge
from nbopt.parts.loss_base import GROUP, Loss, describe
from nbopt.parts.loss_terms import combine, split_terms
from nbopt.parts.regression_losses import MAE, MSE, Huber
from nbopt.words import _

LOSSES: dict[str, type[Loss]] = {
    "cross_entropy": CrossEntropy,
    "focal": Focal,
    "hinge": Hinge,
    "binary_cross_entropy": BinaryCrossEntropy,
    "binary_focal": BinaryFocal,
    "binary_hinge": BinaryHinge,
    "mse": MSE,
    "mae": MAE,
    "huber": Huber,
}

LOSS = Strategy(
    "cross_entropy",
    classes=LOSSES,
    label=_("Loss"),
    group=GROUP,
    help=_("What the steps make smaller."),
)
LOSS.__set_name__(Loss, "loss")


def loss_choice(given: object) -> Hyperparam[str]:
    """Return the run's ``loss`` declaration: the losses that can be swapped for ``given``.

    Parameters
    ----------
    given : str, callable or list
        A name of `LOSSES`; ``callable(output, target)`` returning a scalar tensor; or a list of terms, each one of
        these or a pair (weight, one of these).

    Raises
    ------
    InvalidHyperparam
        If it is none of these, or the terms do not go together.
    """
    if isinstance(given, str):
        kind = _kind(given)
        classes = {name: other for name, other in LOSSES.items() if other.task == kind.task}
        return variant(LOSS, default=given, classes=classes, options=tuple(classes))
    if isinstance(given, (list, tuple)):
        terms = {name: (weight, _kind(item)) for name, (weight, item) in split_terms(given).items()}
        name = " + ".join(terms)
        return variant(LOSS, default=name, classes={name: combine(terms)}, options=(name,))
    kind = _kind(given)
    name = getattr(given, "__name__", type(given).__name__)
    return variant(LOSS, default=name, classes={name: kind}, options=(name,))


def _kind(given: Any) -> type[Loss]:
    if isinstance(given, str) and given in LOSSES:
        return LOSSES[given]
    if isinstance(given, str) or not callable(given):
        raise unknown(_("loss"), given, [*LOSSES, "callable(output, target)"])
    return _custom(given)


def _custom(function: Callable[[Any, Any], Any]) -> type[Loss]:
    """Wrap the user's callable; its result is checked on the first batch."""

    def call(self: Loss, output: Tensor, target: Any) -> Any:
        value = function(output, target)
        return value.reshape(()) if value.ndim else value

    def check(self: Loss, output: Any, target: Any) -> None:
        value = function(output, target)
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise ValueError(_("the loss must return one number as a tensor; got {value}.", value=describe(value)))

    return type("CustomLoss", (Loss,), {"__call__": call, "check": check, "draws": True, "functions": (function,)})
