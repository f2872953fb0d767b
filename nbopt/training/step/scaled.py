"""The eager step in float16: the loss is scaled for the backward pass, and what overflows is skipped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nbopt.techniques.precision.mixed import Precision
from nbopt.torch_private import foreach_div_
from nbopt.training.step.eager import Eager


class Scaled:
    """Gradients and update by torch's `GradScaler`, as its documentation has them; nothing here waits for the device.

    torch itself does: where an optimizer is not fused, `GradScaler.step` reads off the device whether a gradient
    overflowed, one number a step. Fused Adam and AdamW look there themselves. Fused SGD is not trusted with it: if its
    first step is skipped, it goes on with a momentum that was never written (torch 2.13).

    Parameters
    ----------
    eager : Eager
    precision : Precision
        Which has the scaler.
    optimizer : torch.optim.Optimizer
    params : sequence of Parameter
        Those that get gradients.
    """

    def __init__(
        self, eager: Eager, precision: Precision, optimizer: torch.optim.Optimizer, params: Sequence[nn.Parameter]
    ) -> None:
        self._eager = eager
        self._precision = precision
        self._optimizer = optimizer
        held = {id(weight) for group in optimizer.param_groups for weight in group["params"]}
        self._others = [weight for weight in params if id(weight) not in held]
        self._begun = True  # what the scaler saw before is not known
        if isinstance(optimizer, torch.optim.SGD):
            optimizer._step_supports_amp_scaling = False

    def gradients(self, batch: Any, step: int, keep: bool) -> Tensor:
        """Do as `Eager.gradients`: the loss returned is not scaled, nor are the gradients."""
        if self._begun:  # the last step broke off, between here and its update: a scaler that knows nothing of it
            self._precision.scaling = self._precision.scaling
        self._scaler = self._precision.begin_scaling()
        loss = self._eager.gradients(batch, step, keep, self._backward)
        self._begun = True
        self._scaler.unscale_(self._optimizer)
        others = [weight.grad for weight in self._others if weight.grad is not None]
        if others:  # which the optimizer does not hold, but clipping counts
            foreach_div_(others, self._scaler.scale(torch.ones((), device=others[0].device)))
        return loss

    def _backward(self, loss: Tensor) -> None:
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def update(self) -> None:
        """Update the weights, unless a gradient overflowed; move the scale."""
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._begun = False
