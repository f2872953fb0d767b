"""Penalties that act on the gradients, between the backward pass and the update."""

from __future__ import annotations

import torch
from torch import Tensor

from nbopt.hyperparams import Float
from nbopt.i18n import N_
from nbopt.techniques.base import Technique


def pull_many(weights: list[Tensor], gradients: list[Tensor], values: dict[str, Tensor]) -> None:
    """Add the penalty to the gradients of many runs, (runs, ...)."""
    for weight, gradient in zip(weights, gradients, strict=True):
        if weight.ndim > 2:
            gradient.addcmul_(weight.sign(), values["l1"].to(weight).view(-1, *[1] * (weight.ndim - 1)))


class L1(Technique):
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
        group=N_("Regularization"),
        help=N_("L1 regularization; pulls weights to exactly zero."),
    )

    compiles = True
    gradients_of_many = staticmethod(pull_many)

    @property
    def acts(self) -> bool:
        """With any strength."""
        return self.l1 > 0

    @property
    def sign_pull(self) -> float:
        """The strength."""
        return self.l1

    @torch.no_grad()
    def after_gradients(self) -> None:
        """Add the penalty to the gradients."""
        pairs = [(w, w.grad) for w in self.weights if w.grad is not None and w.ndim > 1]
        if pairs:
            weights, gradients = map(list, zip(*pairs, strict=True))
            add_signs(gradients, weights, self.l1)


# Scripts hold this as it is written here: names private to torch, and what is done without them.
def add_signs(gradients: list[Tensor], weights: list[Tensor], amount: float) -> None:
    """Add the signs of the weights, times ``amount``, to the gradients."""
    if hasattr(torch, "_foreach_add_") and hasattr(torch, "_foreach_sign"):
        signs = torch._foreach_sign(weights)
        torch._foreach_add_(gradients, signs, alpha=amount)
    else:
        for gradient, weight in zip(gradients, weights, strict=True):
            gradient.add_(weight.sign(), alpha=amount)
