"""Optimizers' updates of many runs at once, in place: what torch's own give, up to float rounding.

What none of the runs has, as weight decay, costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nbopt.techniques.optimizers.formulas import FORMULAS, Formula

Groups = Sequence[dict[str, Any]]
State = Sequence[Sequence[Tensor]]
Numbers = NDArray[np.float64]
UpdateAll = Callable[[Sequence[Tensor], Sequence[Tensor], State, Groups, Numbers, Numbers], None]
"""``(weights, gradients, state, groups, rates, counts)``: the gradients may be written to.

Weights, gradients and state are of shape (runs, ...), of the groups there is one for each run, ``rates`` are the
learning rates, (runs,), and ``counts`` what number of update this is.
"""


class _Column:
    """Numbers (runs,) as tensors that multiply rows, made once for all weights."""

    def __init__(self, numbers: Any) -> None:
        self._numbers = torch.as_tensor(np.asarray(numbers, np.float64))
        self._made: dict[Any, Tensor] = {}

    def of(self, weight: Tensor) -> Tensor:
        """Return them for rows of a weight."""
        key = weight.dtype, weight.device
        if (made := self._made.get(key)) is None:
            made = self._made[key] = self._numbers.to(weight)
        return made.view(-1, *[1] * (weight.ndim - 1))


def _of(groups: Groups, key: str) -> Numbers:
    return np.array([float(group[key]) for group in groups])


def update_sgd(
    weights: Sequence[Tensor],
    gradients: Sequence[Tensor],
    state: State,
    groups: Groups,
    rates: Numbers,
    _counts: Numbers,
) -> None:
    """Do as `torch.optim.SGD`."""
    decay, momentum, nesterov = (_of(groups, key) for key in ("weight_decay", "momentum", "nesterov"))
    decays, kept, looks, falls = map(_Column, (decay, momentum, nesterov, -rates))
    for place, (weight, gradient) in enumerate(zip(weights, gradients, strict=True)):
        if decay.any():
            gradient.addcmul_(weight, decays.of(weight))
        direction = gradient
        if momentum.any():
            buffer, keep = state[0][place], kept.of(weight)
            moved = torch.addcmul(gradient, buffer, keep)
            if momentum.all():
                buffer.copy_(moved)
            else:  # without momentum, torch leaves the buffer as it is
                buffer.copy_(torch.where(keep > 0, moved, buffer))
                moved = torch.where(keep > 0, moved, gradient)
            direction = moved
            if nesterov.any():
                ahead = torch.addcmul(gradient, moved, keep)
                direction = torch.where(looks.of(weight) > 0, ahead, moved)
        weight.addcmul_(direction, falls.of(weight))


def update_adam(
    weights: Sequence[Tensor],
    gradients: Sequence[Tensor],
    state: State,
    groups: Groups,
    rates: Numbers,
    counts: Numbers,
    decoupled: bool = False,
) -> None:
    """Do as `torch.optim.Adam`."""
    decay, eps = _of(groups, "weight_decay"), _of(groups, "eps")
    beta1, beta2 = (np.array([float(group["betas"][k]) for group in groups]) for k in (0, 1))
    length, root = rates / (1 - beta1**counts), np.sqrt(1 - beta2**counts)
    decays = _Column(1 - rates * decay if decoupled else decay)
    blends, keeps, takes = map(_Column, (1 - beta1, beta2, 1 - beta2))
    floors, falls = _Column(eps * root), _Column(-length * root)
    for place, (weight, gradient) in enumerate(zip(weights, gradients, strict=True)):
        mean, square = state[0][place], state[1][place]
        if decay.any() and decoupled:
            weight.mul_(decays.of(weight))
        elif decay.any():
            gradient.addcmul_(weight, decays.of(weight))
        mean.lerp_(gradient, blends.of(weight))
        square.mul_(keeps.of(weight)).addcmul_(gradient, gradient.mul(takes.of(weight)))
        # m / (sqrt(v) / root + eps) * length, with what belongs to a run outside of what belongs to a weight
        divisor = torch.sqrt(square, out=gradient).add_(floors.of(weight))
        weight.addcmul_(torch.div(mean, divisor, out=divisor), falls.of(weight))


def update_adamw(
    weights: Sequence[Tensor],
    gradients: Sequence[Tensor],
    state: State,
    groups: Groups,
    rates: Numbers,
    counts: Numbers,
) -> None:
    """Do as `torch.optim.AdamW`."""
    update_adam(weights, gradients, state, groups, rates, counts, decoupled=True)


class UpdateOfMany(NamedTuple):
    """One optimizer's update of many runs.

    Attributes
    ----------
    update : callable
        See `UpdateAll`.
    counts : bool
        Whether it goes by the number of updates done.
    remembers : callable
        Whether it remembers anything of a weight, given its parameter group.
    numbers : callable
        ``(groups, rates, counts)``: what the formula takes, (steps, runs, ...); rates and counts are (steps, runs).
    """

    update: UpdateAll
    counts: bool
    remembers: Callable[[dict[str, Any]], bool]
    numbers: Callable[[Groups, Numbers, Numbers], Numbers]


def sgd_numbers(groups: Groups, rates: Numbers, counts: Numbers) -> Numbers:
    """Return what the formula of SGD takes, (steps, runs, 4)."""
    return np.stack(
        np.broadcast_arrays(rates, *(_of(groups, key) for key in ("weight_decay", "momentum", "nesterov"))), -1
    )


def adam_numbers(groups: Groups, rates: Numbers, counts: Numbers) -> Numbers:
    """Return what the formula of Adam takes, (steps, runs, 6)."""
    beta1, beta2 = (np.array([float(group["betas"][k]) for group in groups]) for k in (0, 1))
    root = np.sqrt(1 - beta2**counts)
    length, floor = rates / (1 - beta1**counts) * root, _of(groups, "eps") * root
    return np.stack(np.broadcast_arrays(length, rates, _of(groups, "weight_decay"), beta1, beta2, floor), -1)


def _plain_sgd(
    weight: Tensor, gradient: Tensor, state: list[Tensor], numbers: list[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    lr, decay, _momentum, _nesterov = numbers
    return weight - lr * (gradient + decay * weight), []


def formula_of(kind: type[torch.optim.Optimizer], remembers: bool) -> Formula:
    """Return the formula of an optimizer; one that remembers nothing of weights has a simpler one."""
    formula = FORMULAS[kind]
    return formula if remembers else Formula((), formula.numbers, _plain_sgd)


UPDATES: dict[type[torch.optim.Optimizer], UpdateOfMany] = {
    torch.optim.SGD: UpdateOfMany(update_sgd, False, lambda group: group["momentum"] > 0, sgd_numbers),
    torch.optim.Adam: UpdateOfMany(update_adam, True, lambda group: True, adam_numbers),
    torch.optim.AdamW: UpdateOfMany(update_adamw, True, lambda group: True, adam_numbers),
}
