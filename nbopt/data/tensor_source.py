"""Samples in tensors: on the device where they fit, else gathered ahead and copied while the device computes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nbopt.data.ahead import Ahead

# Batches gathered and cut at once: a gather or a slice for each of them takes many times as long. Nor is it the whole
# epoch: that would take as much memory again as the data, and a pause at its beginning.
_BATCHES = 64
_STRETCH_BYTES = 2**26


def permutation(size: int, seed: int) -> Tensor:
    """Draw a permutation of ``size`` sample indices from ``seed``."""
    return torch.randperm(size, generator=torch.Generator().manual_seed(seed))


class TensorSource:
    """Samples in tensors of equal length.

    Sources of samples share these: ``size``, the number of samples; ``batch_size``, the one its maker gave,
    or None; ``sampled``, whether its maker's sampler picks the samples; ``begin(seed)``, then
    ``batch(start, stop)``; ``nbytes()``; ``to(device)``.

    Parameters
    ----------
    columns : tuple of Tensor
        Each of shape (n, ...).
    shuffle : bool
        Whether every epoch has an order of its own.

    Attributes
    ----------
    resident : bool
        Whether the samples are on the device.
    """

    batch_size: int | None = None
    sampled = False

    def __init__(self, columns: tuple[Tensor, ...], shuffle: bool = True) -> None:
        self.columns = columns
        self.size = len(columns[0])
        self.resident = True
        self._shuffle = shuffle
        self._order: Tensor | None = None
        self._ahead: Ahead | None = None
        self._views: list[tuple[Tensor, ...]] = []  # the batches that come next, the next one last
        self._place = (0, 0)  # where the next one begins, and the size that they were cut to

    def begin(self, seed: int) -> None:
        """Begin an epoch, in an order drawn from ``seed``."""
        if self._shuffle:
            self._order = permutation(self.size, seed).to(self.columns[0].device)
        self._views = []

    def batch(self, start: int, stop: int) -> Any:
        """Return the samples at these positions of the epoch's order, on the device."""
        size = stop - start
        if not self._views or self._place != (start, size):
            parts = [torch.split(column, size) for column in self._stretch(start, size)]
            self._views = list(zip(*parts, strict=True))[::-1]
        rows = self._views.pop()
        self._place = stop, size
        return rows if len(rows) > 1 else rows[0]

    def _stretch(self, start: int, size: int) -> Sequence[Tensor]:
        """Return the samples of this batch and some that follow, in the epoch's order."""
        each = size * self.nbytes() // self.size
        rows = size * max(1, min(_BATCHES, _STRETCH_BYTES // max(1, each)))
        here, following = self._index(start, rows), self._index(start + rows, rows)
        if self._ahead is not None:
            return self._ahead.take(here, following)
        if isinstance(here, slice):
            return [column[here] for column in self.columns]
        return [column.index_select(0, here) for column in self.columns]  # a fifth of what an index in brackets takes

    def _index(self, start: int, rows: int) -> Tensor | slice:
        stop = min(start + rows, self.size)
        return slice(min(start, stop), stop) if self._order is None else self._order[start:stop]

    def nbytes(self) -> int:
        """Return the bytes that the samples take on the device."""
        return sum(column.nbytes for column in self.columns)

    def to(self, device: torch.device) -> None:
        """Move the samples to ``device``."""
        self.columns = tuple(column.to(device) for column in self.columns)
        self.resident, self._ahead, self._views = True, None, []

    def stay(self, device: torch.device) -> None:
        """Keep the samples where they are, and copy them to ``device`` as they are used: for data too large for it."""
        self.resident, self._ahead, self._views = False, Ahead(self.columns, device), []
