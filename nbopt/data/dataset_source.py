"""Samples fetched one by one and collated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from nbopt.data.noise import Noise
from nbopt.data.order import LoaderOrder, Order
from nbopt.data.stream_source import hear_epochs
from nbopt.data.tensor_source import permutation
from nbopt.data.tree import to_device, tree_map
from nbopt.data.workers import Workers


class DatasetSource:
    """Samples of a map-style dataset: fetched and collated by workers, or in the thread that trains.

    Parameters
    ----------
    dataset : Dataset
    collate : callable, optional
        Makes a batch of a list of samples; torch's default if there is none.
    sampler : iterable, optional
        Picks the samples of each epoch.
    shuffle : bool
        Whether every epoch has its own order, where there is no sampler.
    workers : Workers, optional
    generator : torch.Generator, optional
        The loader's, which it draws from as each epoch begins.
    """

    batch_size: int | None = None
    drop_last = False
    converted = ""

    def __init__(
        self,
        dataset: Dataset[Any],
        collate: Callable[[list[Any]], Any] | None = None,
        sampler: Any = None,
        shuffle: bool = True,
        workers: Workers | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        self.dataset = dataset
        self.workers = workers
        self.sampler = sampler
        self.generator = generator
        self.size: int | None = self._count()
        self.shuffle = shuffle
        self.collate = collate or default_collate
        self._device = torch.device("cpu")
        self._seed = 0
        self._asked: tuple[int, Sequence[Any]] = (-1, [])  # where the last batch began, and what it drew from
        self.look_at_generators()
        self._order = Order(range(self.size))

    def look_at_generators(self) -> None:
        """Find out what generators samples and their order are drawn from."""
        self._order_noise = Noise(self._device, self.sampler, self.generator)
        self._noise = Noise(self._device, self.dataset, self.collate)

    def generators(self, position: int) -> dict[str, Sequence[Any]]:
        """Return the states of generators of the user's that the batch at this position, and those after it, need."""
        again = position == self._asked[0]
        return {"order": self._order_noise.began, "samples": self._asked[1] if again else self._noise.states}

    def put_generators(self, states: dict[str, list[Any]]) -> None:
        """Put them back to states that `generators` returned."""
        self._order_noise.began = self._order_noise.take(states.get("order", []))
        self._noise.states = self._noise.take(states.get("samples", []))
        self._asked = (-1, [])

    def _count(self) -> int:
        return len(self.dataset if self.sampler is None else self.sampler)  # type: ignore[arg-type]

    def begin(self, seed: int, epoch: int | None = None) -> None:
        """Begin an epoch: its order and what its samples draw follow from ``seed``; a dataset may have grown."""
        self._seed = seed
        self._asked = (-1, [])
        if epoch is None:  # a validation, which is always drawn alike
            self._noise.begin_again()
        else:
            for part in hear_epochs(self):
                part.set_epoch(epoch)
        if self.workers is not None:
            self.workers.refresh()
        self.size = self._count()
        if self.sampler is not None:
            drawn = self.sampler if self.generator is None else LoaderOrder(self.sampler, self.generator)
            self._order = Order(drawn, self._order_noise, seed)
            return
        self._order = Order(permutation(self.size, seed).tolist() if self.shuffle else range(self.size))

    def complete(self) -> None:
        """Let the next epoch draw on."""
        self._order_noise.complete()
        self._asked = (-1, [])

    def reaches(self, stop: int) -> bool:
        """Return whether the epoch has so many samples."""
        return self._order.reaches(stop)

    def batch(self, start: int, stop: int) -> Any:
        """Return the samples at these positions of the epoch's order, on the device."""
        self._order.forget(start)
        if self.workers is not None:
            batch = self.workers.fetch(self._order, self._seed, start, stop)
            # A copy on the CPU too: memory shared with a worker takes a file descriptor as long as a tensor lives.
            batch = tree_map(lambda part: part.to(self._device, non_blocking=part.is_pinned(), copy=True), batch)
            return to_device(batch, self._device)
        indices = self._order.take(start, stop)
        if start == self._asked[0]:
            self._noise.states = self._asked[1]
        self._asked = (start, self._noise.states)
        return self._fetch(indices, start, goes_on=True)

    def look(self, start: int, stop: int) -> Any:
        """Return the same of any positions, and leave no trace; where no sampler says what comes when."""
        assert self.sampler is None and self.size is not None
        order = permutation(self.size, self._seed).tolist() if self.shuffle else range(self.size)
        return self._fetch(order[start:stop], start, goes_on=False)

    def _fetch(self, indices: Sequence[Any], start: int, goes_on: bool) -> Any:
        with self._noise.lock, self._noise.seeded(self._seed + start, goes_on):  # of augmentations
            if hasattr(self.dataset, "__getitems__"):
                samples = self.dataset.__getitems__(indices)
            else:
                samples = [self.dataset[index] for index in indices]
            batch = self.collate(samples)
        return to_device(batch, self._device)

    def first(self) -> Any:
        """Return a batch of the first sample alone, fetched in this thread: to see what batches are."""
        with self._noise.lock, self._noise.seeded(self._seed), self._order_noise.seeded(self._seed):
            sample = self.dataset[next(iter(range(1) if self.sampler is None else self.sampler))]
            return self.collate([sample])

    def nbytes(self) -> int:
        """Return 0: no more than a batch is on the device."""
        return 0

    def to(self, device: torch.device) -> None:
        """Move each batch to ``device``."""
        self._device = device


class Gathered(Dataset[Any]):
    """Columns that cannot be cut into rows and stacked, as sparse tensors: a batch is gathered at once.

    Parameters
    ----------
    columns : tuple of Tensor
        Each of shape (n, ...).
    """

    def __init__(self, columns: tuple[Tensor, ...]) -> None:
        self._layouts = [column.layout for column in columns]
        self.columns = tuple(map(_as_gatherable, columns))

    def __len__(self) -> int:
        return len(self.columns[0])

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])

    def __getitems__(self, indices: list[int]) -> list[Tensor]:
        index = torch.tensor(indices)
        rows = [column.index_select(0, index.to(column.device)) for column in self.columns]
        pairs = zip(rows, self._layouts, strict=True)
        return [part if part.layout == layout else part.to_sparse(layout=layout) for part, layout in pairs]

    @staticmethod
    def collate(columns: list[Tensor]) -> Any:
        """Return the batch, whose samples are together already."""
        return tuple(columns) if len(columns) > 1 else columns[0]


def _as_gatherable(column: Tensor) -> Tensor:
    """Return a column in the only sparse layout that rows can be gathered from."""
    suits = column.layout in (torch.strided, torch.sparse_coo)
    return column if suits else column.to_sparse(layout=torch.sparse_coo)
