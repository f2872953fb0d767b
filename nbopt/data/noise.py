"""Seeded noise. What a run draws follows from its seed, whoever else draws in the same process.

torch has one generator per device and process, which models, datasets and samplers draw from. A run seeds it for a
forward pass or a batch, and puts its state back: so neither other runs nor the user's own cells notice. While torch
compiles something it saves and puts back that state too, at any moment; so compiling takes the generators for itself,
and dropout draws from a generator of its own meanwhile, the same numbers.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

ORDER, NOISE, SPLIT, EVALUATION = range(4)  # independent random streams of one run

_LOCK = threading.RLock()  # keeps two runs from seeding into each other's noise


def derive_seed(seed: int, stream: int, index: int = 0) -> int:
    """Return a 63-bit seed for one of a run's random streams (`numpy.random.SeedSequence`)."""
    state = np.random.SeedSequence([seed, stream, index]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


class Reserved:
    """Keeps all noise of the process to this thread, in a ``with`` block."""

    holders = 0

    def __enter__(self) -> None:
        Reserved.holders += 1  # first: dropout then leaves the lock alone, which is not a fair one
        _LOCK.acquire()

    def __exit__(self, *_error: object) -> None:
        _LOCK.release()
        Reserved.holders -= 1


class OwnDropout(TorchFunctionMode):
    """Dropout that draws from a generator of its own, in a ``with`` block, what it would draw from torch's."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._generator = torch.Generator().manual_seed(seed)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is functional.dropout:
            return self._drop(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _drop(self, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        return input * draw_mask(input.shape, p, self._generator) if training and p else input


def draw_mask(shape: torch.Size, rate: float, generator: torch.Generator) -> Tensor:
    """Draw the mask of a dropout layer on the CPU, as torch does."""
    return torch.empty(shape).bernoulli_(1 - rate, generator=generator).div_(1 - rate)


class Noise:
    """torch's generators, seeded in a ``with`` block and left as they were.

    Parameters
    ----------
    device : torch.device
        Its generator is seeded beside the CPU's.
    """

    def __init__(self, device: torch.device) -> None:
        self._generators = [torch.default_generator]
        if device.type == "cuda":
            self._generators.append(torch.cuda.default_generators[device.index or 0])
        elif device.type == "mps":
            self._generators.append(torch.mps._get_default_mps_generator())

    def seeded(self, seed: int) -> _Seeded:
        """Return the ``with`` block."""
        return _Seeded(self._generators, seed)


class _Seeded:
    def __init__(self, generators: list[torch.Generator], seed: int) -> None:
        self._generators = generators
        self._seed = seed

    def __enter__(self) -> None:
        _LOCK.acquire()
        self._states = [generator.get_state() for generator in self._generators]
        for generator in self._generators:
            generator.manual_seed(self._seed)

    def __exit__(self, *_error: object) -> None:
        for generator, state in zip(self._generators, self._states, strict=True):
            generator.set_state(state)
        _LOCK.release()
