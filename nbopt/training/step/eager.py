"""The eager step: one operation after the other, as anyone would write it, with nothing around it that costs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nbopt.data.noise import Noise
from nbopt.data.places import Place, grow, item_at
from nbopt.techniques.metrics.reading import tensor_of
from nbopt.torch_private import foreach_div_, run_backward
from nbopt.training.step.passes import ForwardPass
from nbopt.training.step.split import Split

RECENT_BATCHES = 16  # training metrics are of an epoch's last batches
_RECENT_NUMBERS = 100_000  # ... unless outputs are larger than this; snapshots hold them too
_PART_SEEDS = 1_000_003  # keeps the noise of a batch's parts apart from that of the next steps


class OutputBuffer(deque[tuple[Any, Any]]):
    """Outputs and targets of the last batches, as far as they are tensors.

    Parameters
    ----------
    places : sequence of tuple
        Where those stand that are kept, in trees of several.
    """

    def __init__(self, places: Sequence[Place] = ()) -> None:
        super().__init__(maxlen=RECENT_BATCHES)
        self._places = places

    def keep(self, output: Any, target: Any) -> None:
        """Keep those of one more batch."""
        if self._places:
            self._keep_some(output, target)
            return
        output = tensor_of(output)
        if output is None or not isinstance(target, Tensor):
            return
        if output.numel() > _RECENT_NUMBERS:
            self.clear()
        self.append((output.detach(), target))

    def _keep_some(self, output: Any, target: Any) -> None:
        """Keep what metrics take of several outputs."""
        outputs = [tensor_of(item_at(output, place)) for place in self._places]
        targets = [item_at(target, place) for place in self._places]
        if not all(isinstance(part, Tensor) for part in (*outputs, *targets)):
            return
        if sum(part.numel() for part in outputs if part is not None) > _RECENT_NUMBERS:
            self.clear()
        detached = [part.detach() for part in outputs if part is not None]
        self.append((grow(self._places, detached), grow(self._places, targets)))

    def pack(self) -> dict[str, Tensor]:
        """Return the tensors by name, for snapshots."""
        found: dict[str, Tensor] = {}
        for index, pair in enumerate(self):
            for role, tree in zip(("output", "target"), pair, strict=True):
                leaves = [item_at(tree, place) for place in self._places or [()]]
                names = [f"{index}.{role}.{k}" for k in range(len(leaves))] if self._places else [f"{index}.{role}"]
                found.update(zip(names, leaves, strict=True))
        return found

    def unpack(self, tensors: Mapping[str, Tensor]) -> None:
        """Keep what `pack` returned."""
        count = 2 * max(1, len(self._places))
        for index in range(len(tensors) // count):
            names = [f"{index}.output", f"{index}.target"]
            if not self._places:
                self.append((tensors[names[0]], tensors[names[1]]))
                continue
            output, target = ([tensors[f"{name}.{k}"] for k in range(len(self._places))] for name in names)
            self.append((grow(self._places, output), grow(self._places, target)))


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
    recent : Recent
        Where outputs are kept for metrics.

    Attributes
    ----------
    seed : int
    zero_grad : callable or None
        The optimizer's own, where it is another than torch's.
    update_draws : bool
        Whether the update draws random numbers on from where the forward pass left off.
    left_off : context manager or None
        ... in which it does.
    """

    def __init__(
        self,
        pass_: ForwardPass,
        params: Sequence[nn.Parameter],
        noise: Noise,
        seed: int,
        recent: OutputBuffer,
    ) -> None:
        self._pass = pass_
        self._params = params
        self._noise = noise
        self.seed = seed
        self.zero_grad: Callable[[], Any] | None = None
        self.update_draws = False
        self.left_off: Any = None
        self._recent = recent
        self.split = Split(pass_, params, noise)
        self._one: Tensor | None = None

    def gradients(
        self,
        batch: Any,
        step: int,
        keep: bool,
        differentiate: Callable[[Tensor], Any] | None = None,
        graph: bool = False,
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
        graph : bool
            Whether it keeps the graphs of gradients, which cannot be changed any more once all parts are done.
        """
        backward = differentiate or self._backward
        if self.zero_grad is not None:
            self.zero_grad()
        else:
            for parameter in self._params:
                parameter.grad = None
        self._pass.step, self.left_off = step, None
        if not self._pass.acting.part_size:
            output, target, loss = self._do(batch, step)
            backward(loss)
            if keep:
                self._recent.keep(output, target)
            return loss.detach()
        return self._in_parts(batch, step, keep, backward, graph)

    def _in_parts(self, batch: Any, step: int, keep: bool, backward: Callable[[Tensor], Any], graph: bool) -> Tensor:
        """Do the same part by part."""
        parts, results, losses = self.split.parts(batch), [], []
        counted: Any = 0  # targets that count, of all
        of = 0
        for index, (part, share) in enumerate(parts):
            output, target, loss = self._do(part, step + _PART_SEEDS * index)
            if len(parts) > 1 and (found := self.split.count(target)) is not None:
                count, size = found
                counted, of = counted + count, of + size
                # The mean over no target at all is no number, nor would no share of it be.
                loss = torch.where(count > 0, loss * (count / size * share).to(loss.dtype), 0.0)
            elif share != 1.0:
                loss = loss * share
            self._pass.loss.note_part(share)
            if not graph:
                backward(loss)
            losses.append(loss if graph else loss.detach())
            results.append((output, target))
        if of:  # what the parts are shares of; 1 where all targets count
            whole = (counted / of).to(losses[0].dtype)
            losses = [loss / whole for loss in losses]
            if not graph:
                divisor = torch.where(whole > 0, whole, 1.0)  # of nothing at all, the gradient is 0
                foreach_div_([weight.grad for weight in self._params if weight.grad is not None], divisor)
        if graph:
            for loss in losses:
                backward(loss)
        if keep:
            for output, target in results:
                self._recent.keep(output, target)
        total = losses[0]
        for loss in losses[1:]:
            total = total + loss
        return total.detach()

    def _do(self, batch: Any, noise: int) -> tuple[Any, Any, Tensor]:
        acting = self._pass.acting
        draws = acting.draws or not self._pass.is_silent
        for draws_now in acting.draws_now:
            draws = draws or draws_now()
        if not draws:
            return self._pass(batch)
        if self.update_draws:
            self.left_off = self._noise.continued(self.seed + noise)
        with self._noise.lock, self.left_off or self._noise.seeded(self.seed + noise, goes_on=True):
            return self._pass(batch)

    def _backward(self, loss: Tensor) -> None:
        """Do as ``loss.backward()``, whose checks and whose new tensor of 1 cost 10 microseconds."""
        one = self._one
        if one is None or one.dtype is not loss.dtype or loss.ndim or type(loss) is not Tensor:
            loss.backward()  # type: ignore[no-untyped-call]
            self._one = torch.ones_like(loss) if type(loss) is Tensor and not loss.ndim else None
            return
        run_backward((loss,), (one,), False, False, (), allow_unreachable=True, accumulate_grad=True)
