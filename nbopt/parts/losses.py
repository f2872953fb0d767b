"""Losses. Each knows what outputs and targets it can take, so that a mismatch is told in the user's words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from nbopt.hyperparams import Float, Hyperparam, Strategy, Tunable, variant
from nbopt.names import unknown
from nbopt.words import _

_GROUP = _("Loss")


class Loss(Tunable):
    """A loss of (output, target): the mean over the batch.

    Attributes
    ----------
    task : str
        Losses of one task can be swapped for each other mid-run.
    draws : bool
        Whether it may draw random numbers.
    """

    task: ClassVar[str] = "custom"
    draws: ClassVar[bool] = False

    def prepare(self, output: Tensor, target: Any) -> Any:
        """Return ``target`` in the shape and dtype that the loss needs; called every step, so cheap."""
        return target

    def check(self, output: Any, target: Any) -> None:
        """Raise ValueError, naming both shapes, where the loss cannot work on these."""

    def __call__(self, output: Tensor, target: Any) -> Tensor:
        """Return the loss, a scalar; ``target`` comes from `prepare`."""
        raise NotImplementedError


class CrossEntropy(Loss):
    """Cross-entropy of raw scores (n, classes, ...) with class indices (n, ...), int64."""

    task = "classification"

    def __call__(self, output: Tensor, target: Any) -> Tensor:
        """Return the mean cross-entropy."""
        return functional.cross_entropy(output, target)

    def check(self, output: Any, target: Any) -> None:
        """Raise ValueError for other shapes, or labels that are no class."""
        _need_tensors("cross_entropy", output, target)
        if output.ndim < 2:
            rule = _("it needs one score per class: outputs (samples, classes)")
            raise _mismatch("cross_entropy", output, target, rule)
        classes = output.shape[1]
        if target.is_floating_point():
            if target.shape != output.shape:  # probabilities are taken as they are
                rule = _("it needs class indices as integers, or one probability per class")
                raise _mismatch("cross_entropy", output, target, rule)
            return
        if target.shape != (output.shape[0], *output.shape[2:]):
            rule = _("it needs one class index per sample, shape (samples,)")
            raise _mismatch("cross_entropy", output, target, rule)
        valid = target[target != -100]  # torch's ignore_index
        if valid.numel() and (int(valid.min()) < 0 or int(valid.max()) >= classes):
            raise ValueError(
                _(
                    "cross_entropy: labels must be 0 to {last}, because the model gives {classes} scores; "
                    "got labels from {low} to {high}. Renumber them (scikit-learn's LabelEncoder does) "
                    "or give the last layer more outputs.",
                    last=classes - 1,
                    classes=classes,
                    low=int(valid.min()),
                    high=int(valid.max()),
                )
            )


class _Elementwise(Loss):
    """What losses that compare outputs and targets number by number share."""

    name: ClassVar[str] = ""

    def prepare(self, output: Tensor, target: Any) -> Any:
        """Return ``target`` in the output's shape and dtype."""
        # A (n,) target against an (n, 1) output would broadcast to (n, n), silently.
        if target.shape != output.shape:
            target = target.reshape(output.shape)
        return target if target.dtype == output.dtype else target.to(output.dtype)

    def check(self, output: Any, target: Any) -> None:
        """Raise ValueError where there is not one number for each."""
        _need_tensors(self.name, output, target)
        if output.numel() != target.numel():
            raise _mismatch(self.name, output, target, _("it compares them number by number"))


class BinaryCrossEntropy(_Elementwise):
    """Log loss of raw scores (n,) or (n, 1) with labels 0 and 1."""

    task = "binary"
    name = "binary_cross_entropy"

    def __call__(self, output: Tensor, target: Any) -> Tensor:
        """Return the mean log loss."""
        return functional.binary_cross_entropy_with_logits(output, target)

    def check(self, output: Any, target: Any) -> None:
        """Raise ValueError for other shapes, or labels outside 0 to 1."""
        super().check(output, target)
        low, high = float(target.min()), float(target.max())
        if low < 0 or high > 1:
            rule = _("binary_cross_entropy: labels must be 0 to 1")
            raise ValueError(_("{rule}; got labels from {low:g} to {high:g}.", rule=rule, low=low, high=high))


class MSE(_Elementwise):
    """Mean squared error."""

    task = "regression"
    name = "mse"

    def __call__(self, output: Tensor, target: Any) -> Tensor:
        """Return the mean squared error."""
        return functional.mse_loss(output, target)


class MAE(_Elementwise):
    """Mean absolute error."""

    task = "regression"
    name = "mae"

    def __call__(self, output: Tensor, target: Any) -> Tensor:
        """Return the mean absolute error."""
        return functional.l1_loss(output, target)


class Huber(_Elementwise):
    """Huber's loss (1964): squared up to ``delta``, linear beyond."""

    task = "regression"
    name = "huber"
    delta = Float(
        1.0,
        low=1e-2,
        high=100.0,
        log=True,
        gt=0.0,
        label="δ",
        group=_GROUP,
        help=_("Error beyond which the Huber loss grows linearly."),
    )

    def __call__(self, output: Tensor, target: Any) -> Tensor:
        """Return the mean Huber loss."""
        return functional.huber_loss(output, target, delta=self.delta)


LOSSES: dict[str, type[Loss]] = {
    "cross_entropy": CrossEntropy,
    "binary_cross_entropy": BinaryCrossEntropy,
    "mse": MSE,
    "mae": MAE,
    "huber": Huber,
}

LOSS = Strategy(
    "cross_entropy",
    classes=LOSSES,
    label=_("Loss"),
    group=_GROUP,
    help=_("What the steps make smaller."),
)
LOSS.__set_name__(Loss, "loss")


def loss_choice(given: object) -> Hyperparam[str]:
    """Return the run's ``loss`` declaration: the losses that can be swapped for ``given``.

    Parameters
    ----------
    given : str or callable
        A name of `LOSSES`, or ``callable(output, target)`` returning a scalar tensor.

    Raises
    ------
    InvalidHyperparam
        If it is neither.
    """
    if isinstance(given, str):
        if given not in LOSSES:
            raise unknown(_("loss"), given, LOSSES)
        classes = {name: kind for name, kind in LOSSES.items() if kind.task == LOSSES[given].task}
        return variant(LOSS, default=given, classes=classes, options=tuple(classes))
    if not callable(given):
        raise unknown(_("loss"), given, [*LOSSES, "callable(output, target)"])
    name = getattr(given, "__name__", type(given).__name__)
    return variant(LOSS, default=name, classes={name: _custom(given)}, options=(name,))


def _custom(function: Callable[[Any, Any], Any]) -> type[Loss]:
    """Wrap the user's callable; its result is checked on the first batch."""

    def call(self: Loss, output: Tensor, target: Any) -> Any:
        value = function(output, target)
        return value.reshape(()) if value.ndim else value

    def check(self: Loss, output: Any, target: Any) -> None:
        value = function(output, target)
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise ValueError(_("the loss must return one number as a tensor; got {value}.", value=_describe(value)))

    return type("CustomLoss", (Loss,), {"__call__": call, "check": check, "draws": True})


def _need_tensors(name: str, output: Any, target: Any) -> None:
    for what, value in ((_("the model's output"), output), (_("the target"), target)):
        if not isinstance(value, Tensor):
            raise ValueError(
                _(
                    "{name} needs tensors; {what} is {value}. Give forward=callable(model, batch) -> (output, target).",
                    name=name,
                    what=what,
                    value=_describe(value),
                )
            )


def _mismatch(name: str, output: Tensor, target: Tensor, rule: str) -> ValueError:
    return ValueError(
        _(
            "{name}: outputs {output} and targets {target} do not match: {rule}.",
            name=name,
            output=_describe(output),
            target=_describe(target),
            rule=rule,
        )
    )


def _describe(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
    return type(value).__name__
