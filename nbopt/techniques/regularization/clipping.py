"""Limits on gradients and weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nbopt.hyperparams import Float
from nbopt.i18n import N_
from nbopt.techniques.base import Technique

_GROUP = N_("Limits")


def cut_many(weights: list[Tensor], gradients: list[Tensor], values: dict[str, Tensor]) -> None:
    """Cut the gradients of many runs, (runs, ...), each to its range."""
    limits = values["clip_value"]
    limits = torch.where(limits > 0, limits, torch.inf)
    for gradient in gradients:
        limit = limits.to(gradient).view(-1, *[1] * (gradient.ndim - 1))
        torch.clamp(gradient, -limit, limit, out=gradient)


def shorten_many(weights: list[Tensor], gradients: list[Tensor], values: dict[str, Tensor]) -> None:
    """Shorten the gradients of many runs, (runs, ...), each to its length, as torch's clip_grad_norm_ does."""
    limits = values["clip_norm"]
    lengths = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients], 1).norm(dim=1)
    shares = torch.clamp(limits / (lengths + 1e-6), max=1.0)
    shares = torch.where(limits > 0, shares, 1.0)
    for gradient in gradients:
        gradient.mul_(shares.to(gradient).view(-1, *[1] * (gradient.ndim - 1)))


class ClipValue(Technique):
    """Cuts each number of the gradient to a range, as torch's clip_grad_value_ does (Mikolov 2012)."""

    clip_value = Float(
        0.0,
        low=1e-3,
        high=100.0,
        log=True,
        zero=True,
        ge=0.0,
        label=N_("Clip value"),
        group=_GROUP,
        help=N_("Limit on the absolute value of each element of the gradient; 0: no limit."),
        synonyms="clipvalue clip_grad_value",
    )

    gradients_of_many = staticmethod(cut_many)

    @property
    def acts(self) -> bool:
        """With any limit."""
        return self.clip_value > 0

    def after_gradients(self) -> None:
        """Cut the gradients."""
        nn.utils.clip_grad_value_(self.weights, self.clip_value)


class ClipNorm(Technique):
    """Shortens the gradient where it is too long (Pascanu et al. 2013, algorithm 1)."""

    clip_norm = Float(
        0.0,
        low=1e-3,
        high=100.0,
        log=True,
        zero=True,
        ge=0.0,
        label=N_("Clip norm"),
        group=_GROUP,
        help=N_("Limit on the norm of the gradient of all weights together; 0: no limit."),
        synonyms="max_grad_norm gradient_clip_val grad_clip clip_grad clip_grad_norm clipnorm",
    )

    gradients_of_many = staticmethod(shorten_many)

    @property
    def acts(self) -> bool:
        """With any limit."""
        return self.clip_norm > 0

    def after_gradients(self) -> None:
        """Scale the gradients down together."""
        nn.utils.clip_grad_norm_(self.weights, self.clip_norm)


class MaxNorm(Technique):
    """Keeps the weights into each unit within a ball (Srebro et al. 2005; Srivastava et al. 2014, section 5.1).

    Biases and normalization scales (parameters with fewer than two dimensions) are left alone.
    """

    max_norm = Float(
        0.0,
        low=0.1,
        high=10.0,
        log=True,
        zero=True,
        ge=0.0,
        label=N_("Max norm"),
        group=_GROUP,
        help=N_("Limit on the norm of the vector of weights into each unit; 0: no limit."),
    )

    @property
    def acts(self) -> bool:
        """With any limit."""
        return self.max_norm > 0

    @torch.no_grad()
    def after_step(self, loss: Tensor) -> None:
        """Shorten what has grown too long."""
        for weight in self.weights:
            if weight.ndim > 1:
                weight.copy_(torch.renorm(weight, 2, 0, self.max_norm))
