"""What a compiled step takes of a stack: so many rows at a time, and what is new in each step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from nbopt.techniques.optimizers.many import UPDATES
from nbopt.training.compile.captured import Shape
from nbopt.training.compile.step import Chunk
from nbopt.training.many.member import OneOfMany
from nbopt.training.many.noise import Pair
from nbopt.training.many.stack import Stack

_MOST_NUMBERS = 2**19  # that a step of a block is about: a processor's caches hold them


class Ready(NamedTuple):
    """A compiled step, and the shapes of what it takes."""

    chunk: Chunk
    shapes: list[Shape]


class Given(NamedTuple):
    """What is new in steps.

    Attributes
    ----------
    steps : int
    batch : tuple of Tensor
        (x, y) of all these steps, (runs, steps * batch, ...), or without that dimension where they are shared.
    shared : bool
    drawn : list of list of Tensor
        For each step, of each dropout layer the numbers that its mask follows from, (runs, ...), or (...) where batches
        are shared: then these are, too.
    shares : Tensor
        What each layer of each run keeps, see `Uniform`.
    numbers : Tensor
        What formulas take, (runs, steps, ...).
    """

    steps: int
    batch: Pair
    shared: bool
    drawn: list[list[Tensor]]
    shares: Tensor
    numbers: Tensor


def find_slots(trainings: Sequence[OneOfMany], size: int, before: Stack | None) -> int:
    """Return how many runs are to be in a block: where that may be, as many as before, for what is compiled.

    Parameters
    ----------
    trainings : sequence of OneOfMany
    size : int
        How many numbers a step of one of them is about, see `Gradients.size`.
    before : Stack or None
        In whose blocks they were so far.
    """
    if before is not None and before.is_like(trainings[0]):
        return before.slots
    least = -(-len(trainings) // max(1, _MOST_NUMBERS // size))
    # Of as many blocks or a few more, those with the fewest spare rows: their steps are done and thrown away.
    sizes = [-(-len(trainings) // blocks) for blocks in range(least, 2 * least)]
    return min(sizes, key=lambda slots: -len(trainings) % slots)


class Blocks:
    """The runs of a stack, block by block.

    Parameters
    ----------
    stack : Stack
    remembers : bool
        Whether optimizers remember anything of weights.
    """

    def __init__(self, stack: Stack, remembers: bool) -> None:
        self._slots, self._runs = stack.slots, len(stack.trainings)
        state = [tensor for tensors in stack.state for tensor in tensors] if remembers else []
        held = [*stack.weights, *stack.buffers, *stack.fixed, *state]
        self._rows = [slice(first, first + self._slots) for first in range(0, self._runs, self._slots)]
        self._held = [[tensor[rows] for tensor in held] for rows in self._rows]

    def arguments(self, block: int, given: Given) -> Iterator[list[Tensor]]:
        """Yield what a compiled step of a block takes, in order, step by step."""
        steps, batch, shared, drawn, shares, numbers = given
        same, own = (batch, ()) if shared else ((), batch)
        parts: list[Sequence[Tensor]] = [tensor.chunk(steps) for tensor in same]
        parts += [self._steps_of(tensor, block, steps) for tensor in own]
        for layer in zip(*drawn, strict=True):
            parts.append(layer if shared else [self._of(tensor, block).contiguous() for tensor in layer])
        parts += [[self._of(shares, block)] * steps, self._steps_of(numbers, block, steps)]
        for part in zip(*parts, strict=True):
            yield [*self._held[block], *part]

    def _of(self, tensor: Tensor, block: int) -> Tensor:
        """Return the rows of a block, (slots, ...); spare ones have what the last run has."""
        part = tensor[self._rows[block]]
        if missing := self._slots - part.shape[0]:
            part = torch.cat([part, part[-1:].expand(missing, *part.shape[1:])])
        return part

    def _steps_of(self, tensor: Tensor, block: int, steps: int) -> Sequence[Tensor]:
        """Return what a block has of a tensor (runs, steps * count, ...), (slots, count, ...) for each step."""
        part = self._of(tensor, block)
        each = part.view(self._slots, steps, part.shape[1] // steps, *part.shape[2:])
        return each.transpose(0, 1).contiguous().unbind()

    def do(self, ready: Ready, given: Given) -> list[Tensor] | None:
        """Do steps; a block does all of them before the next one does any: its weights stay in the caches.

        Returns
        -------
        list of Tensor or None
            Losses (runs, steps) and, if they are wanted, outputs (runs, steps, batch, ...); None where the step was
            compiled for something else.
        """
        found: list[list[Tensor]] = []
        for block in range(len(self._rows)):
            results: list[Sequence[Tensor]] = []
            for arguments in self.arguments(block, given):
                if not found and not results and shapes_of(arguments) != ready.shapes:
                    return None
                results.append(ready.chunk(arguments))
            found.append([torch.cat(each, 1) for each in zip(*results, strict=True)])
        return [torch.cat(each)[: self._runs] for each in zip(*found, strict=True)]


def shapes_of(tensors: Sequence[Tensor]) -> list[Shape]:
    """Return what machine code does not look at; how far apart the places of a single one are does not matter."""
    return [
        Shape(
            one.shape,
            tuple(step if size > 1 else 1 for size, step in zip(one.shape, one.stride(), strict=True)),
            one.dtype,
        )
        for one in tensors
    ]


class Numbers:
    """What formulas take of many runs.

    Parameters
    ----------
    trainings : sequence of OneOfMany
        As their settings are now.
    """

    def __init__(self, trainings: Sequence[OneOfMany]) -> None:
        self._known = UPDATES.get(type(trainings[0].torch_optimizer))
        self._groups = [training.torch_optimizer.param_groups[0] for training in trainings]
        self._pulls = np.array([training.acting.sign_pull for training in trainings], np.float64)

    def of(self, counts: Tensor, rates: Any) -> Tensor:
        """Return them for the next steps, (runs, steps, ...).

        Parameters
        ----------
        counts : Tensor
            Updates done, (runs, weights).
        rates : ndarray
            Learning rates, (steps, runs).
        """
        assert self._known is not None
        done = counts[:, 0].numpy().astype(np.float64) + np.arange(1, len(rates) + 1)[:, None]
        found = self._known.numbers(self._groups, rates, done)
        pulls = np.broadcast_to(self._pulls, rates.shape)[..., None]
        return torch.from_numpy(np.concatenate([pulls, found], -1).astype(np.float32)).transpose(0, 1)
