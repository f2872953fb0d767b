"""Samples in tensors: on the device where they fit, else gathered ahead and copied while the device computes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor

from nbopt.data.ahead import Ahead
from nbopt.data.noise import Noise
from nbopt.data.places import Place
from nbopt.data.structure import Structure

# Batches gathered and cut at once: a gather or a slice for each of them takes many times as long. Nor is it the whole
# epoch: that would take as much memory again as the data, and a pause at its beginning.
_BATCHES = 128
_STRETCH_BYTES = 2**26


def permutation(size: int, seed: int) -> Tensor:
    """Draw a permutation of ``size`` sample indices from ``seed``."""
    return torch.randperm(size, generator=torch.Generator().manual_seed(seed))


class TensorSource:
    """Samples in tensors of equal length.

    Sources of samples share these: ``size``, the number of samples; ``batch_size`` and ``drop_last`` as the loader
    given has them, or None and False; ``converted``, in words; ``begin(seed, epoch)``, then ``reaches(stop)`` and
    ``batch(start, stop)``, and at the end of an epoch ``complete()``; ``generators(position)`` and
    ``put_generators(states)``; ``nbytes()``; ``to(device)``.

    Parameters
    ----------
    columns : tuple of Tensor
        Each of shape (n, ...).
    shuffle : bool
        Whether every epoch has its own order.
    collate : callable, optional
        Makes a batch of a tuple of tensors: ``list``, as torch's loaders do. Without it, a batch is the tuple, or the
        tensor where there is but one.
    sampler : iterable, optional
        Picks the samples of each epoch, all at once.

    Attributes
    ----------
    resident : bool
        Whether the samples are on the device.
    adaptable : bool
        Whether the samples were given as arrays, not as a dataset, so that their type is the run's affair.
    needed : torch.dtype or None
        What the first column becomes in each batch: bytes, for a model that takes floats or whole numbers.
    """

    batch_size: int | None = None
    drop_last = False
    converted = ""
    adaptable = False
    needed: torch.dtype | None = None

    def __init__(
        self,
        columns: tuple[Tensor, ...],
        shuffle: bool = True,
        collate: Callable[[Any], Any] | None = None,
        sampler: Iterable[int] | None = None,
    ) -> None:
        self.columns = columns
        self.size = len(columns[0])
        self.sampler = sampler
        self.look_at_generators()
        self.resident = True
        self.shuffle = shuffle
        self.collate = collate or (tuple if len(columns) > 1 else itemgetter(0))
        self._order: Tensor | None = None
        self._seed: int | None = None  # from which the order is still to be drawn: runs that are dealt alike draw one
        self._ahead: Ahead | None = None
        self._views: list[Any] = []  # the batches that come next, the next one last
        self._place = (0, 0)  # where the next one begins, and the size that they were cut to
        self._held: tuple[int, Sequence[Tensor]] | None = None  # what they were cut from, and where that begins

    @property
    def structure(self) -> Structure | None:
        """What makes batches of columns that were given by name."""
        return self.collate if isinstance(self.collate, Structure) else None

    @property
    def targets(self) -> dict[Place, Tensor]:
        """The columns of targets in batches (x, y), by their place in y."""
        if self.structure is None:
            return {(): self.columns[1]} if len(self.columns) == 2 else {}
        pairs = zip(self.structure.places, self.columns, strict=True)
        return {place[1:]: column for place, column in pairs if place[0] == 1}

    @property
    def inputs(self) -> Tensor | None:
        """The column of inputs, if a batch begins with a tensor."""
        return self.columns[0] if self.structure is None or self.structure.places[0] == (0,) else None

    @property
    def bare(self) -> bool:
        """Whether a batch is a tensor, not several of them."""
        return isinstance(self.collate, itemgetter)

    def look_at_generators(self) -> None:
        """Find out what generators the order is drawn from."""
        self._noise = None if self.sampler is None else Noise(torch.device("cpu"), self.sampler)

    def generators(self, position: int) -> dict[str, Sequence[Any]]:
        """Return the states of generators of the user's as the epoch began."""
        return {} if self._noise is None else {"order": self._noise.began}

    def put_generators(self, states: dict[str, list[Any]]) -> None:
        """Put them back to states that `generators` returned."""
        if self._noise is not None:
            self._noise.began = self._noise.take(states.get("order", []))

    def complete(self) -> None:
        """Let the next epoch draw on."""
        if self._noise is not None:
            self._noise.complete()

    def begin(self, seed: int, epoch: int | None = None) -> None:
        """Begin an epoch, in an order drawn from ``seed``."""
        if self.sampler is not None and self._noise is not None:
            self._noise.begin_again()
            with self._noise.lock, self._noise.seeded(seed, goes_on=True):
                self._order = torch.tensor(list(self.sampler)).to(self.columns[0].device)
        elif self.shuffle:
            self._order, self._seed = None, seed
        self._forget()

    def _forget(self) -> None:
        self._views, self._held = [], None

    def reaches(self, stop: int) -> bool:
        """Return whether there are so many samples."""
        return stop <= self.size

    def batch(self, start: int, stop: int) -> Any:
        """Return the samples at these positions of the epoch's order, on the device."""
        size = stop - start
        if not self._views or self._place != (start, size):
            parts = [torch.split(column, size) for column in self._hold(start, size)]
            self._views = list(map(self.collate, zip(*parts, strict=True)))[::-1]
        self._place = stop, size
        return self._views.pop()

    def _hold(self, start: int, size: int) -> Sequence[Tensor]:
        """Return samples to be cut into batches of a size: those that are left of the last stretch, where that will do.

        What was dealt out already is gathered anew: the model may have changed it.
        """
        held, self._held = self._held, None  # memory to be used again
        if held is not None and self._place[0] == start:
            first, columns = held
            there = len(columns[0])
            last = there if first + there >= self.size else there - (first + there - start) % size
            if last - (start - first) >= min(size, self.size - start):
                self._held = held
                return [column[start - first : last] for column in columns]
            del held, columns
        columns = self._stretch(start, size)
        self._held = start, columns
        return columns

    def _stretch(self, start: int, size: int) -> Sequence[Tensor]:
        """Return the samples of this batch and some that follow, in the epoch's order."""
        each = size * self.nbytes() // self.size
        rows = size * max(1, min(_BATCHES, _STRETCH_BYTES // max(1, each)))
        here, following = self._index(start, rows), self._index(start + rows, rows)
        return self._adapt(self._ahead.take(here, following)) if self._ahead is not None else self.rows(here)

    def rows(self, index: Tensor | slice) -> Sequence[Tensor]:
        """Return a copy of some samples, as batches hold them: the model may change what it is given."""
        if isinstance(index, slice):
            return self._adapt([column[index].clone() for column in self.columns])
        # A fifth of what an index in brackets takes.
        return self._adapt([column.index_select(0, index) for column in self.columns])

    def _adapt(self, columns: Sequence[Tensor]) -> Sequence[Tensor]:
        return columns if self.needed is None else [columns[0].to(self.needed), *columns[1:]]

    def _index(self, start: int, rows: int) -> Tensor | slice:
        stop = min(start + rows, self.size)
        if self._seed is not None:
            self._order, self._seed = permutation(self.size, self._seed).to(self.columns[0].device), None
        return slice(min(start, stop), stop) if self._order is None else self._order[start:stop]

    def nbytes(self) -> int:
        """Return the bytes that the samples take on the device."""
        return sum(column.nbytes for column in self.columns)

    def to(self, device: torch.device) -> None:
        """Move the samples to ``device``."""
        self.columns = tuple(column.to(device) for column in self.columns)
        self.resident, self._ahead = True, None
        self._forget()

    def stay(self, device: torch.device) -> None:
        """Keep the samples where they are, and copy them to ``device`` as they are used: for data too large for it."""
        self.resident, self._ahead = False, Ahead(self.columns, device)
        self._forget()
