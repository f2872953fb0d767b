"""Optimizers' updates as formulas of tensors: for a step that is compiled whole.

What a person changes comes in as numbers in a tensor, one row a step; so no change needs another compilation. They give
what torch's own optimizers give, up to float rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

Group = dict[str, Any]
Rule = Callable[[Tensor, Tensor, list[Tensor], list[Tensor]], tuple[Tensor, list[Tensor]]]


class Formula(NamedTuple):
    """One optimizer's update.

    Attributes
    ----------
    keys : tuple of str
        Tensors of its state, shaped as the weight, by torch's names.
    numbers : callable
        ``(group, count) -> list of float``: what update number ``count`` (from 1) takes from a parameter group.
    rule : callable
        ``(weight, gradient, state, numbers) -> (weight, state)``, all of them tensors.
    """

    keys: tuple[str, ...]
    numbers: Callable[[Group, int], list[float]]
    rule: Rule


def _end(mean: Tensor) -> Tensor:
    """Return a running mean of gradients, 0 where it is smaller than any normal number.

    That of a weight that gets no gradient any more, as it is pruned, would stay there for ever, too small to move the
    weight, and a processor takes a hundred times as long for such a number. Not so a GPU, where kernels count.
    """
    if mean.device.type != "cpu":
        return mean
    least = min(torch.finfo(kind).tiny for kind in (mean.dtype, torch.float32))
    return torch.where(mean.abs() < least, 0.0, mean)


def _sgd_numbers(group: Group, count: int) -> list[float]:
    return [group["lr"], group["weight_decay"], group["momentum"], float(group["nesterov"])]


def _sgd(weight: Tensor, gradient: Tensor, state: list[Tensor], numbers: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    lr, decay, momentum, nesterov = numbers
    (buffer,) = state
    gradient = gradient + decay * weight
    # Without momentum, torch leaves the buffer as it is.
    buffer = torch.where(momentum > 0, _end(momentum * buffer + gradient), buffer)
    direction = torch.where(nesterov > 0, gradient + momentum * buffer, buffer)
    return weight - lr * torch.where(momentum > 0, direction, gradient), [buffer]


def _adam_numbers(group: Group, count: int) -> list[float]:
    beta1, beta2 = group["betas"]
    root = math.sqrt(1 - beta2**count)
    length = group["lr"] / (1 - beta1**count) * root
    return [length, group["lr"], group["weight_decay"], beta1, beta2, group["eps"] * root]


def _adam(weight: Tensor, gradient: Tensor, state: list[Tensor], numbers: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    return _adam_rule(weight, gradient + numbers[2] * weight, state, numbers)


def _adamw(weight: Tensor, gradient: Tensor, state: list[Tensor], numbers: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    return _adam_rule(weight * (1 - numbers[1] * numbers[2]), gradient, state, numbers)


def _adam_rule(
    weight: Tensor, gradient: Tensor, state: list[Tensor], numbers: list[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    length, _lr, _decay, beta1, beta2, floor = numbers
    mean, square = state
    mean = _end(mean + (1 - beta1) * (gradient - mean))
    square = beta2 * square + (1 - beta2) * gradient * gradient
    # torch divides the root by a number of the step, and adds eps: two divisions a weight take longest of all this.
    return weight - length * mean / (square.sqrt() + floor), [mean, square]


FORMULAS: dict[type[torch.optim.Optimizer], Formula] = {
    torch.optim.SGD: Formula(("momentum_buffer",), _sgd_numbers, _sgd),
    torch.optim.Adam: Formula(("exp_avg", "exp_avg_sq"), _adam_numbers, _adam),
    torch.optim.AdamW: Formula(("exp_avg", "exp_avg_sq"), _adam_numbers, _adamw),
}
