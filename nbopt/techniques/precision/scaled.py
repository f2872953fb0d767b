"""A step in float16: the loss is scaled for the backward pass, and what overflows is skipped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.amp import GradScaler

from nbopt.torch_private import foreach_div_


class Scales(Protocol):
    """Who has the scaler, and its state."""

    scaling: dict[str, Any] | None

    def begin_scaling(self) -> GradScaler:
        """Return the scaler; make it, if there is none yet."""
        ...


class Scaled:
    """Gradients and update by torch's `GradScaler`, as its documentation has them; nothing here waits for the device.

    torch itself does: where an optimizer is not fused, `GradScaler.step` reads off the device whether a gradient
    overflowed, one number a step. Fused Adam and AdamW look there themselves. Fused SGD is not trusted with it: if its
    first step is skipped, it goes on with a momentum that was never written (torch 2.13).

    Parameters
    ----------
    gradients : callable
        See `nbopt.techniques.hooks.Hooks.replace_step`.
    holder : Scales
    optimizer : torch.optim.Optimizer
    params : sequence of Parameter
        Those that get gradients.
    """

    def __init__(
        self,
        gradients: Callable[..., Tensor],
        holder: Scales,
        optimizer: torch.optim.Optimizer,
        params: Sequence[nn.Parameter],
    ) -> None:
        self.leaves_out = True
        self._of_batch = gradients
        self._holder = holder
        self._optimizer = optimizer
        held = {id(weight) for group in optimizer.param_groups for weight in group["params"]}
        self._others = [weight for weight in params if id(weight) not in held]
        self._begun = True  # what the scaler saw before is not known
        if isinstance(optimizer, torch.optim.SGD):
            optimizer._step_supports_amp_scaling = False

    def gradients(self, batch: Any, step: int, keep: bool) -> Tensor:
        """Compute gradients; the loss returned is not scaled, nor are they."""
        if self._begun:  # the last step broke off, between here and its update: a scaler that knows nothing of it
            self._holder.scaling = self._holder.scaling
        self._scaler = self._holder.begin_scaling()
        loss = self._of_batch(batch, step, keep, self._backward)
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
