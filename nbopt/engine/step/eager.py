"""The eager step: one operation after the other, as anyone would write it, with nothing around it that costs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import _engine_run_backward

from nbopt.data.noise import Noise
from nbopt.engine.step.passes import Pass
from nbopt.parts.accumulation import Accumulation
from nbopt.parts.dropout import Dropout
from nbopt.parts.metric_reading import tensor_of

RECENT_BATCHES = 16  # training metrics are of an epoch's last batches
_RECENT_NUMBERS = 100_000  # ... unless outputs are larger than this; snapshots hold them too
_PART_SEEDS = 1_000_003  # keeps the noise of a batch's parts apart from that of the next steps


class Recent(deque[tuple[Tensor, Tensor]]):
    """Outputs and targets of the last batches, as far as they are tensors."""

    def __init__(self) -> None:
        super().__init__(maxlen=RECENT_BATCHES)

    def keep(self, output: Any, target: Any) -> None:
        """Keep those of one more batch."""
        output = tensor_of(output)
        if output is None or not isinstance(target, Tensor):
            return
        if output.numel() > _RECENT_NUMBERS:
            self.clear()
        self.append((output.detach(), target))


class Eager:
    """Computes gradients.

    Parameters
    ----------
    pass_ : Pass
    params : sequence of Parameter
        Those that get gradients.
    noise : Noise
    seed : int
        The noise of step n follows from this and n.
    dropout, accumulation : parts
    recent : Recent
        Where outputs are kept for metrics.
    """

    def __init__(
        self,
        pass_: Pass,
        params: Sequence[nn.Parameter],
        noise: Noise,
        seed: int,
        dropout: Dropout,
        accumulation: Accumulation,
        recent: Recent,
    ) -> None:
        self._pass = pass_
        self._params = params
        self._noise = noise
        self._seed = seed
        self._dropout = dropout
        self._accumulation = accumulation
        self._recent = recent
        self._one: Tensor | None = None

    def gradients(
        self, batch: Any, step: int, keep: bool, differentiate: Callable[[Tensor], Any] | None = None
    ) -> Tensor:
        """Compute the gradients of a batch's loss, and return that loss; in parts, if the batch is to be split.

        Parameters
        ----------
        batch : tree of Tensor
        step : int
            Its number.
        keep : bool
            Whether its outputs count for the training metrics.
        differentiate : callable, optional
            Gets the loss, with its graph, in the place of ``backward``.
        """
        backward = differentiate or self._backward
        for parameter in self._params:
            parameter.grad = None
        self._pass.step = step
        if not self._accumulation.micro_batch:
            return self._part(batch, step, keep, backward)
        total: Tensor | None = None
        for index, (part, share) in enumerate(self._accumulation.parts(batch)):
            loss = self._part(part, step + _PART_SEEDS * index, keep, backward, share)
            total = loss if total is None else total + loss
        assert total is not None
        return total

    def _part(
        self, batch: Any, noise: int, keep: bool, backward: Callable[[Tensor], Any], share: float = 1.0
    ) -> Tensor:
        if self._pass.is_silent and not self._pass.acting.change_batch and not self._dropout.acts:
            output, target, loss = self._pass(batch)
        else:
            with self._noise.lock, self._noise.seeded(self._seed + noise):
                output, target, loss = self._pass(batch)
        if share != 1.0:
            loss = loss * share
        backward(loss)
        if keep:
            self._recent.keep(output, target)
        return loss.detach()

    def _backward(self, loss: Tensor) -> None:
        """Do as ``loss.backward()``, whose checks and whose new tensor of 1 cost 10 microseconds."""
        one = self._one
        if one is None or one.dtype is not loss.dtype or loss.ndim or type(loss) is not Tensor:
            loss.backward()  # type: ignore[no-untyped-call]
            self._one = torch.ones_like(loss) if type(loss) is Tensor and not loss.ndim else None
            return
        _engine_run_backward((loss,), (one,), False, False, (), allow_unreachable=True, accumulate_grad=True)
