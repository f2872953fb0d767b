"""Penalties that act on the gradients, between the backward pass and the update."""

from __future__ import annotations

import torch
from torch import nn

from nbopt.hyperparams import Float, Tunable
from nbopt.words import _


class L1(Tunable):
    """L1 regularization of the weights (Tibshirani 1996): adds ``l1 * sign(w)`` to the gradient.

    That is the subgradient of ``l1 * sum |w|``. Biases and normalization scales (parameters with fewer than
    two dimensions) are left alone. The loss shown stays the data's own, comparable with the validation loss.
    """

    l1 = Float(
        0.0,
        low=1e-6,
        high=1.0,
        log=True,
        zero=True,
        ge=0.0,
        label="L1",
        group=_("Regularization"),
        help=_("Pulls weights towards exactly zero."),
    )

    def __init__(self, model: nn.Module) -> None:
        self._weights = [weight for weight in model.parameters() if weight.requires_grad and weight.ndim > 1]

    @torch.no_grad()
    def apply(self) -> None:
        """Add the penalty to the gradients."""
        pairs = [(weight, weight.grad) for weight in self._weights if weight.grad is not None]
        if pairs:
            weights, gradients = zip(*pairs, strict=True)
            torch._foreach_add_(gradients, torch._foreach_sign(weights), alpha=self.l1)
