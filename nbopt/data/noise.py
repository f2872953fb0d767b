"""Seeded noise. What a run draws follows from its seed, whoever else draws in the same process.

torch has one generator per device and process, which models, datasets and samplers draw from. A run seeds it for a
forward pass or a batch, and puts its state back: so neither other runs nor the user's own cells notice.
"""

from __future__ import annotations

import threading

import numpy as np
import torch
from torch import Tensor

ORDER, NOISE, SPLIT, EVALUATION, INITIALIZATION = range(5)  # independent random streams of one run

_LOCK = threading.RLock()  # keeps two runs from seeding into each other's noise


def derive_seed(seed: int, stream: int, index: int = 0) -> int:
    """Return a 63-bit seed for one of a run's random streams (`numpy.random.SeedSequence`)."""
    state = np.random.SeedSequence([seed, stream, index]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


class Noise:
    """torch's generators, seeded in a ``with`` block and left as they were.

    Parameters
    ----------
    device : torch.device
        Its generator is seeded beside the CPU's.

    Attributes
    ----------
    lock : threading.RLock
        Held while a run draws.
    """

    lock = _LOCK

    def __init__(self, device: torch.device) -> None:
        self._generators = [torch.default_generator]
        if device.type == "cuda":
            self._generators.append(torch.cuda.default_generators[device.index or 0])
        elif device.type == "mps":
            self._generators.append(torch.mps._get_default_mps_generator())

    def states(self) -> list[Tensor]:
        """Return the generators' states, each in a tensor on the CPU."""
        return [generator.get_state() for generator in self._generators]

    def seeded(self, seed: int) -> _Seeded:
        """Return the ``with`` block, to be entered with `lock` held.

        An interrupt may fall into Python's own ``__enter__`` and ``__exit__``; a lock's, of C, is given back anyway.
        """
        return _Seeded(self._generators, seed)

    def continued(self, seed: int) -> _Continued:
        """Return a ``with`` block that may be entered again: it then draws on from where it was left."""
        return _Continued(self._generators, seed)


class _Seeded:
    def __init__(self, generators: list[torch.Generator], seed: int) -> None:
        self._generators = generators
        self._seed = seed

    def __enter__(self) -> None:
        self._states = [generator.get_state() for generator in self._generators]
        for generator in self._generators:
            generator.manual_seed(self._seed)

    def __exit__(self, *_error: object) -> None:
        for generator, state in zip(self._generators, self._states, strict=True):
            generator.set_state(state)


class _Continued(_Seeded):
    """Numbers drawn now and then, in one sequence."""

    _left: list[Tensor] | None = None

    def __enter__(self) -> None:
        super().__enter__()
        if self._left is not None:
            for generator, state in zip(self._generators, self._left, strict=True):
                generator.set_state(state)

    def __exit__(self, *error: object) -> None:
        self._left = [generator.get_state() for generator in self._generators]
        super().__exit__(*error)
