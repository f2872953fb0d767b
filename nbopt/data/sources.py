"""Sources: every kind of data a user has, behind one face that deals out batches by sample index.

===================  ======================================================================
given                becomes
===================  ======================================================================
``(X, y)`` arrays    `TensorSource`: tensors, on the device when they fit
``TensorDataset``    the same
``Dataset``          `DatasetSource`: samples fetched one by one and collated
``DataLoader``       its dataset, ``collate_fn``, sampler and workers; ``batch_size`` becomes live
iterable of batches  `StreamSource`: batches as they come; ``batch_size`` is not live
===================  ======================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    TensorDataset,
    default_collate,
)

from nbopt.data.noise import Noise
from nbopt.data.tensor_source import TensorSource, permutation
from nbopt.data.tree import tensors, tree_map
from nbopt.data.workers import Workers
from nbopt.words import _


class DatasetSource:
    """Samples fetched from a map-style ``Dataset`` and collated: by workers, or in the thread that trains."""

    def __init__(
        self,
        dataset: Dataset[Any],
        collate: Callable[[list[Any]], Any] | None = None,
        sampler: Any = None,
        shuffle: bool = True,
        batch_size: int | None = None,
        workers: Workers | None = None,
    ) -> None:
        self.dataset = dataset
        self.workers = workers
        self.size: int | None = len(sampler) if sampler is not None else len(dataset)  # type: ignore[arg-type]
        self.batch_size = batch_size
        self.sampled = sampler is not None
        self._collate = collate or default_collate
        self._sampler = sampler
        self._shuffle = shuffle
        self._order: list[int] = list(range(self.size))
        self._device = torch.device("cpu")
        self._noise = Noise(self._device)
        self._seed = 0

    def begin(self, seed: int) -> None:
        """Begin an epoch: its order and what its samples draw follow from ``seed``."""
        self._seed = seed
        if self._sampler is not None:
            with self._noise.seeded(seed):
                self._order = list(self._sampler)
        elif self._shuffle and self.size is not None:
            self._order = permutation(self.size, seed).tolist()

    def batch(self, start: int, stop: int) -> Any:
        """Return the samples at these positions of the epoch's order, on the device."""
        if self.workers is not None:
            batch = self.workers.fetch(self._order, self._seed, start, stop)
            # A copy on the CPU too: memory shared with a worker takes a file descriptor as long as a tensor lives.
            return tree_map(lambda part: part.to(self._device, non_blocking=part.is_pinned(), copy=True), batch)
        indices = self._order[start:stop]
        with self._noise.seeded(self._seed + start):  # of augmentations
            if hasattr(self.dataset, "__getitems__"):
                samples = self.dataset.__getitems__(indices)
            else:
                samples = [self.dataset[index] for index in indices]
            batch = self._collate(samples)
        return tree_map(lambda tensor: tensor.to(self._device), batch)

    def nbytes(self) -> int:
        """Return 0: no more than a batch is on the device."""
        return 0

    def to(self, device: torch.device) -> None:
        """Move each batch to ``device``."""
        self._device = device


class StreamSource:
    """Batches as a ``DataLoader`` of its own making yields them: its order and batch size are its own.

    Attributes
    ----------
    length : int or None
        Batches in an epoch, as ``len(loader)`` tells; None where it does not know.
    """

    size: int | None = None
    batch_size: int | None = None

    def __init__(self, loader: DataLoader[Any]) -> None:
        self.loader = loader
        try:
            self.length: int | None = len(loader)
        except (TypeError, NotImplementedError):  # the dataset or the sampler has no length
            self.length = None
        self._device = torch.device("cpu")
        self._noise = Noise(self._device)

    def batches(self, seed: int) -> Iterator[Any]:
        """Yield one epoch's batches, on the device; what they draw follows from ``seed``."""
        with self._noise.seeded(seed):
            stream = iter(self.loader)
        while True:
            seed += 1
            with self._noise.seeded(seed):
                try:
                    batch = next(stream)
                except StopIteration:
                    return
            yield tree_map(lambda tensor: tensor.to(self._device), batch)

    def nbytes(self) -> int:
        """Return 0: no more than a batch is on the device."""
        return 0

    def to(self, device: torch.device) -> None:
        """Move each batch to ``device``."""
        self._device = device


AnySource = TensorSource | DatasetSource | StreamSource


def as_source(data: Any, role: str) -> AnySource:
    """Turn what the user gave as ``train`` or ``val`` into a source.

    Parameters
    ----------
    data : array, Tensor, tuple of them, Dataset or DataLoader
    role : str
        ``"train"`` or ``"val"``, for the error message.

    Raises
    ------
    TypeError
        If it is none of these.
    ValueError
        If it is empty or its parts differ in length.
    """
    if isinstance(data, AnySource):
        source = copy(data)  # another run's: the samples are shared, the order and the workers are not
        if isinstance(source, DatasetSource):
            source.workers = copy(source.workers)
        return source
    if isinstance(data, DataLoader):
        source = _from_loader(data, role)
    elif type(data) is TensorDataset:  # a subclass may have its own way of making a sample
        source = TensorSource(_columns(data.tensors, role))
    elif isinstance(data, IterableDataset):
        source = StreamSource(DataLoader(data, batch_size=64))
    elif isinstance(data, Dataset):
        source = DatasetSource(data)
    elif isinstance(data, (tuple, list)) and data and all(_is_array(item) for item in data):
        source = TensorSource(_columns(tuple(data), role))
    elif _is_array(data):
        source = TensorSource(_columns((data,), role))
    else:
        raise TypeError(
            _(
                "{role} must be (X, y) as arrays or tensors, a torch Dataset or a DataLoader; got {kind}.",
                role=role,
                kind=type(data).__name__,
            )
        )
    if source.size == 0:
        raise ValueError(_("{role} is empty: it holds no sample.", role=role))
    return source


def _from_loader(loader: DataLoader[Any], role: str) -> AnySource:
    if isinstance(loader.dataset, IterableDataset) or type(loader.batch_sampler) is not BatchSampler:
        return StreamSource(loader)
    sampler: Any = loader.sampler
    plain = type(sampler) is SequentialSampler or (
        type(sampler) is RandomSampler and not sampler.replacement and len(sampler) == len(loader.dataset)  # type: ignore[arg-type]
    )
    shuffle = type(sampler) is RandomSampler
    dataset = loader.dataset
    if plain and type(dataset) is TensorDataset and loader.collate_fn is default_collate:
        source = TensorSource(_columns(dataset.tensors, role), shuffle)
        source.batch_size = loader.batch_size
        return source
    workers = Workers(dataset, loader) if loader.num_workers else None
    return DatasetSource(dataset, loader.collate_fn, None if plain else sampler, shuffle, loader.batch_size, workers)


def _is_array(item: Any) -> bool:
    return hasattr(item, "shape") or hasattr(item, "__array__") or (isinstance(item, list) and bool(item))


def _columns(items: tuple[Any, ...], role: str) -> tuple[Tensor, ...]:
    columns = tuple(_as_tensor(item, role) for item in items)
    lengths = [len(column) for column in columns]
    if len(set(lengths)) > 1:
        each = " / ".join(map(str, lengths))
        raise ValueError(_("the parts of {role} differ in length: {each} samples.", role=role, each=each))
    return columns


def _as_tensor(item: Any, role: str) -> Tensor:
    """Turn floats into float32 and integers into int64, what layers and losses expect; images stay uint8."""
    import numpy as np

    if isinstance(item, Tensor):
        tensor = item.detach()
    else:
        if hasattr(item, "to_numpy"):  # pandas
            item = item.to_numpy()
        array = np.asarray(item)
        if array.dtype == object or array.dtype.kind in "USM":
            raise TypeError(
                _(
                    "{role} holds {kind}, which a network cannot take: turn it into numbers first "
                    "(scikit-learn's OrdinalEncoder or LabelEncoder do).",
                    role=role,
                    kind=array.dtype,
                )
            )
        tensor = torch.from_numpy(np.array(array))  # a copy: later changes to the user's must not reach the run
    if tensor.ndim == 0:
        raise ValueError(_("{role} holds a single number where samples are expected.", role=role))
    if tensor.is_floating_point():
        return tensor.to(torch.float32) if tensor.dtype == torch.float64 else tensor
    if tensor.dtype == torch.uint8 and tensor.ndim > 1:
        return tensor
    return tensor if tensor.is_complex() else tensor.to(torch.int64)


def sample_count(batch: Any) -> int:
    """Return how many samples a batch holds: the length of its first tensor."""
    for tensor in tensors(batch):
        return len(tensor) if tensor.ndim else 1
    return 0
