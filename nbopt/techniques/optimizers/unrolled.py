"""Optimizers' updates as functions that can be differentiated, by hyperparameters too."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from nbopt.techniques.base import Technique, defines
from nbopt.techniques.losses.base import Loss
from nbopt.techniques.schedules.planned import Schedule

Values = Mapping[str, Tensor]
Step = Callable[[Tensor, Tensor, dict[str, Tensor], Values, Tensor, int], tuple[Tensor, dict[str, Tensor]]]
"""``(weight, gradient, state, values, rate, count) -> (weight, state)``: update number ``count``, from 1."""


def step_sgd(
    weight: Tensor, gradient: Tensor, state: dict[str, Tensor], values: Values, rate: Tensor, count: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """Do as `torch.optim.SGD`."""
    gradient = gradient + values["weight_decay"] * weight
    buffer = state.get("momentum_buffer")
    buffer = gradient if buffer is None else values["momentum"] * buffer + gradient
    direction = gradient + values["momentum"] * buffer if bool(values["nesterov"]) else buffer
    return weight - rate * direction, {"momentum_buffer": buffer}


def step_adam(
    weight: Tensor,
    gradient: Tensor,
    state: dict[str, Tensor],
    values: Values,
    rate: Tensor,
    count: int,
    decoupled: bool = False,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Do as `torch.optim.Adam`."""
    beta1, beta2, decay = values["beta1"], values["beta2"], values["weight_decay"]
    if decoupled:
        weight = weight * (1 - rate * decay)
    else:
        gradient = gradient + decay * weight
    mean = beta1 * state.get("exp_avg", torch.zeros_like(weight)) + (1 - beta1) * gradient
    square = beta2 * state.get("exp_avg_sq", torch.zeros_like(weight)) + (1 - beta2) * gradient * gradient
    # The root has no slope at 0, where the mean is 0 as well.
    is_there = square > 0
    root = torch.where(is_there, torch.where(is_there, square, 1.0).sqrt(), 0.0)
    divisor = root / (1 - beta2**count).sqrt() + values["eps"]
    return weight - rate / (1 - beta1**count) * mean / divisor, {"exp_avg": mean, "exp_avg_sq": square}


def step_adamw(
    weight: Tensor, gradient: Tensor, state: dict[str, Tensor], values: Values, rate: Tensor, count: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """Do as `torch.optim.AdamW`."""
    return step_adam(weight, gradient, state, values, rate, count, decoupled=True)


STEPS: dict[type[torch.optim.Optimizer], tuple[Step, tuple[str, ...]]] = {
    torch.optim.SGD: (step_sgd, ("lr", "weight_decay", "momentum")),
    torch.optim.Adam: (step_adam, ("lr", "weight_decay", "beta1", "beta2")),
    torch.optim.AdamW: (step_adamw, ("lr", "weight_decay", "beta1", "beta2")),
}
"""The updates, each with the hyperparameters that it can be differentiated by."""

FIXED = ("nesterov", "eps")
"""What an update takes from the parameter group as it is, 0 where there is none."""


def changes_gradients(kind: type[Technique]) -> bool:
    """Return whether a technique changes gradients otherwise than by a pull that is written out, as that of L1."""
    return defines(kind, "after_gradients") and not defines(kind, "sign_pull")


def may_move_weights(kind: type[Technique]) -> bool:
    """Return whether a technique may change weights once a step is done; losses and schedules only take note of it."""
    return defines(kind, "after_step") and not issubclass(kind, (Loss, Schedule))
