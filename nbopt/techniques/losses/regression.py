"""Losses of regression."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from nbopt.hyperparams import Float
from nbopt.i18n import N_
from nbopt.techniques.losses.base import GROUP, Elementwise


class MSE(Elementwise):
    """Mean squared error (Gauss 1809)."""

    task = "regression"
    name = "mse"
    source = "functional.mse_loss(output, {target})"

    def __call__(self, output: Tensor, target: Any) -> Tensor:
        """Return the mean squared error."""
        return functional.mse_loss(output, target)


class MAE(Elementwise):
    """Mean absolute error (Laplace 1774)."""

    task = "regression"
    name = "mae"
    source = "functional.l1_loss(output, {target})"

    def __call__(self, output: Tensor, target: Any) -> Tensor:
        """Return the mean absolute error."""
        return functional.l1_loss(output, target)


def huber(output: Tensor, target: Tensor, delta: Tensor) -> Tensor:
    """Return the mean Huber loss, its bend in a tensor."""
    error = (output - target).abs()
    return torch.where(error < delta, 0.5 * error.square(), delta * (error - 0.5 * delta)).mean()


class Huber(Elementwise):
    """Huber's loss (1964): squared up to ``delta``, linear beyond."""

    task = "regression"
    name = "huber"
    source = "functional.huber_loss(output, {target}, delta={delta})"
    delta = Float(
        1.0,
        low=1e-2,
        high=100.0,
        log=True,
        gt=0.0,
        label="δ",
        group=GROUP,
        help=N_("Absolute error beyond which the Huber loss grows linearly."),
    )

    def __call__(self, output: Tensor, target: Any) -> Tensor:
        """Return the mean Huber loss."""
        if isinstance(self.delta, Tensor):  # of many runs at once
            return huber(output, target, self.delta)
        return functional.huber_loss(output, target, delta=self.delta)
