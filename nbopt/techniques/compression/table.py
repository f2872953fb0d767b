"""What a teacher says of the samples of a run, kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import torch
from torch import Tensor


# Scripts hold this class as it is written here, so in lines of 88 characters.
class Table:
    """What a teacher says of samples in memory, found by the samples' very bits.

    All of them are asked for at once, in their own order: what is said of a sample
    depends, in its last bits, on those beside it, and is thus the same at any time.

    Parameters
    ----------
    samples : Tensor
        (n, ...), on the CPU.
    teach : callable
        Returns what is said of some samples, (samples, ...).
    """

    def __init__(self, samples: Tensor, teach: Callable[[Tensor], Tensor]) -> None:
        self.rows = {key_of(sample): row for row, sample in enumerate(samples)}
        self.said = torch.cat([teach(some) for some in torch.split(samples, 256)])

    def find(self, x: Tensor) -> Tensor | None:
        """Return what is said of a batch; None if any sample is not known."""
        found = []
        for sample in x:  # one that was changed is mostly the first
            row = self.rows.get(key_of(sample))
            if row is None:
                return None
            found.append(row)
        return self.said[found]


def key_of(sample: Tensor) -> bytes:
    """Return what stands for the bits of a sample."""
    numbers = sample.detach().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.blake2b(numbers.numpy().data, digest_size=16).digest()
