"""Sources: every kind of data a user has, behind one face that deals out batches by sample index.

====================  ======================================================================
given                 becomes
====================  ======================================================================
``(X, y)`` arrays     `TensorSource`: tensors, on the device when they fit
``TensorDataset``     the same, in the types it has
``Dataset``, list     `DatasetSource`: samples fetched one by one and collated
``DataLoader``        its dataset, ``collate_fn``, sampler, ``drop_last`` and workers;
                      ``batch_size`` becomes live
``IterableDataset``   `StreamSource`: a loader of them, in batches of ``batch_size``
iterable of batches   `StreamSource`: batches as they come; ``batch_size`` is not live
====================  ======================================================================

A ``DataLoader`` is taken apart only where all of it is known: a map-style dataset, and torch's own ``BatchSampler``.
One with another batch sampler, of a class that iterates in its own way, or whose sampler has no length is an iterable
of batches.
"""

from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    SequentialSampler,
    TensorDataset,
    default_collate,
)

from nbopt.data.columns import as_columns, is_array
from nbopt.data.dataset_source import DatasetSource, Gathered
from nbopt.data.order import LoaderOrder, is_permutation
from nbopt.data.stream_source import StreamSource
from nbopt.data.structure import Structure, is_structured, take_apart
from nbopt.data.tensor_source import TensorSource
from nbopt.data.tree import tensors
from nbopt.data.workers import Workers
from nbopt.i18n import _

__all__ = [
    "AnySource",
    "DatasetSource",
    "Samples",
    "StreamSource",
    "TensorSource",
    "as_source",
    "evaluation_size",
    "makes_batches",
    "sample_count",
]

Samples = TensorSource | DatasetSource
AnySource = Samples | StreamSource

_FEW, _MANY, _EVALUATION_BYTES = 64, 4096, 2**24  # samples that are evaluated at once, at least and at most


def as_source(data: Any, role: str, floats: torch.dtype = torch.float32, batch_size: int = 64) -> AnySource:
    """Turn what the user gave as ``train`` or ``val`` into a source.

    Parameters
    ----------
    data : array, Tensor, tuple of them, Dataset, list of samples, DataLoader or iterable of batches
    role : str
        ``"train"`` or ``"val"``: only training data are shuffled without a loader that says so.
    floats : torch.dtype
        What float32 and float64 arrays become.
    batch_size : int
        Of an ``IterableDataset`` given without a loader.

    Raises
    ------
    TypeError
        If it is none of these.
    ValueError
        If it is empty or its parts differ in length.
    """
    shuffle = role == "train"
    _check_clear(data, role)
    if isinstance(data, AnySource):
        source = copy(data)  # another run's: the samples are shared, the order and the workers are not
        source.look_at_generators()
        if isinstance(source, DatasetSource):
            source.workers = copy(source.workers)
        return source
    if isinstance(data, DataLoader):
        source = _from_loader(data)
    elif isinstance(data, IterableDataset):
        source = StreamSource(DataLoader(data, batch_size=batch_size))
    elif _is_plain(data):
        source = TensorSource(data.tensors, shuffle, list)
    elif _is_dataset(data):
        source = DatasetSource(data, shuffle=shuffle)
    elif isinstance(data, (tuple, list)) and data and all(is_array(item) for item in data):
        source = _from_columns(tuple(data), role, floats, shuffle)
    elif is_structured(data):
        columns, structure = take_apart(data)
        source = _from_columns(tuple(columns), role, floats, shuffle, structure)
    elif is_array(data):
        source = _from_columns((data,), role, floats, shuffle)
    elif _is_loader(data):
        source = StreamSource(data)
    elif hasattr(data, "__next__"):
        rule = _("it can be iterated over only once: pass a Dataset, a DataLoader, or the iterable that made it")
        raise TypeError(_("{role} is a {kind}, {rule}.", role=role, kind=type(data).__name__, rule=rule))
    else:
        raise TypeError(_("{wanted}; got {kind}.", wanted=_wanted(role), kind=type(data).__name__))
    if source.size == 0:
        raise ValueError(_("{role} is empty: it holds no sample.", role=role))
    if source.size is not None and source.drop_last and source.size < (source.batch_size or 1):
        rule = _("drop_last=True leaves no batch of {size}", size=source.batch_size)
        raise ValueError(_("{role} is empty: of {count} samples, {rule}.", role=role, count=source.size, rule=rule))
    return source


def makes_batches(data: Any) -> bool:
    """Whether what the user gave as ``train`` decides itself how many samples a batch has."""
    return not _is_understood(data) if isinstance(data, DataLoader) else _is_loader(data)


def _from_columns(
    items: tuple[Any, ...], role: str, floats: torch.dtype, shuffle: bool, structure: Structure | None = None
) -> AnySource:
    columns, converted = as_columns(items, role, floats)
    source: TensorSource | DatasetSource
    if any(column.layout != torch.strided or column.is_nested for column in columns):
        if structure is not None:
            rule = _("sparse and nested tensors cannot be given by name: give a Dataset")
            raise TypeError(_("{role}: {rule}.", role=role, rule=rule))
        source = DatasetSource(Gathered(columns), Gathered.collate, shuffle=shuffle)
    else:
        source = TensorSource(columns, shuffle, structure)
        source.adaptable = True
    source.converted = converted
    return source


def _from_loader(loader: DataLoader[Any]) -> AnySource:
    if not _is_understood(loader):
        return StreamSource(loader)
    dataset: Any = loader.dataset
    sampler: Any = loader.sampler
    permutes = is_permutation(sampler)
    shuffle = permutes and sampler.generator is None
    plain = shuffle or type(sampler) is SequentialSampler
    source: TensorSource | DatasetSource
    order: Any = None if plain else sampler
    if (plain or permutes) and _is_plain(dataset) and loader.collate_fn is default_collate:
        if permutes and not plain and loader.generator is not None:
            order = LoaderOrder(sampler, loader.generator)
        source = TensorSource(dataset.tensors, shuffle, list, order)
    else:
        workers = Workers(dataset, loader) if loader.num_workers else None
        source = DatasetSource(dataset, loader.collate_fn, order, shuffle, workers, loader.generator)
    source.batch_size, source.drop_last = loader.batch_size, loader.drop_last
    return source


def _is_understood(loader: DataLoader[Any]) -> bool:
    """Whether all that a loader does is known, so that its samples can be dealt out in batches of any size."""
    kind = type(loader)
    own = kind.__iter__ is not DataLoader.__iter__ or kind._get_iterator is not DataLoader._get_iterator
    batches = loader.batch_sampler
    if own or isinstance(loader.dataset, IterableDataset) or loader.batch_size is None:
        return False
    if type(batches) is not BatchSampler or batches.sampler is not loader.sampler:
        return False
    try:
        len(loader.sampler)  # type: ignore[arg-type]
    except (TypeError, NotImplementedError):
        return False
    return True


def _is_plain(dataset: Any) -> bool:
    """Whether a dataset is rows of tensors, which can be gathered as well as collated one by one."""
    return type(dataset) is TensorDataset and all(  # a subclass may have its own way of making a sample
        type(tensor) is Tensor and tensor.layout == torch.strided and not tensor.requires_grad and not tensor.is_nested
        for tensor in dataset.tensors
    )


def _is_dataset(data: Any) -> bool:
    """Whether ``data`` is a map-style dataset: torch's, any other with samples by number, or a list of samples."""
    if isinstance(data, Dataset):
        return True
    if isinstance(data, list):
        return bool(data) and not is_array(data[0]) and not isinstance(data[0], (numbers.Number, str, bytes))
    if is_array(data) or isinstance(data, (str, bytes, tuple, Mapping, torch.nn.Module, type)):
        return False
    return isinstance(data, Sequence) or (hasattr(data, "__getitem__") and hasattr(data, "__len__"))


def _may_be_a_batch(item: Any) -> bool:
    """Whether an item of a list is columns of the same length: a batch, or else a sample that is a sequence."""
    parts = list(item.values()) if isinstance(item, Mapping) else item
    if not isinstance(parts, (tuple, list)) or len(parts) < 2:
        return False
    if not all(isinstance(part, (Tensor, np.ndarray)) and part.ndim for part in parts) or parts[0].ndim < 2:
        return False
    return len({len(part) for part in parts}) == 1 and len({part.shape for part in parts}) > 1


def _check_clear(data: Any, role: str) -> None:
    """Raise TypeError for what may be meant in two ways, or is given by name."""
    items = data if isinstance(data, (tuple, list)) else [data]
    if items and data is items and _may_be_a_batch(items[0]):
        item = items[0]
        parts = item.values() if isinstance(item, Mapping) else item
        shapes = ", ".join(str(tuple(part.shape)) for part in parts)
        given = _("{role} is a {kind}", role=role, kind=type(data).__name__)
        told = _("the first item, of shapes {shapes}, may be a batch or a sample", shapes=shapes)
        batches, samples = "DataLoader(data, batch_size=None)", "DataLoader(data, batch_size=64, shuffle=True)"
        way = _("give batches as {batches}, samples as {samples}", batches=batches, samples=samples)
        raise TypeError(_("{given}, and {told}: {way}.", given=given, told=told, way=way))
    if is_structured(data):
        return
    names = [type(item).__name__ for item in items if isinstance(item, Mapping) and not isinstance(item, Dataset)]
    if names and not (isinstance(data, list) and len(names) == len(data)):  # samples
        rule = _("columns by name are a StackDataset(**columns) of torch.utils.data, in a DataLoader, and forward=")
        raise TypeError(_("{wanted}; got a {kind}: {rule} takes them.", wanted=_wanted(role), kind=names[0], rule=rule))


def _wanted(role: str) -> str:
    return _("{role} must be (X, y) as arrays or tensors, a torch Dataset or a DataLoader", role=role)


def _is_loader(data: Any) -> bool:
    """Whether ``data`` yields batches, again each time it is iterated."""
    if is_array(data) or isinstance(data, (str, bytes, list, tuple, Mapping, type, torch.nn.Module)):
        return False
    return hasattr(data, "__iter__") and not hasattr(data, "__next__") and not _is_dataset(data)


def evaluation_size(source: AnySource) -> int:
    """Return how many samples are evaluated at once: as many as a source's own batches have, or as is fast."""
    if source.batch_size is not None or not isinstance(source, TensorSource):
        return source.batch_size or _FEW
    return max(_FEW, min(_MANY, _EVALUATION_BYTES * source.size // max(1, source.nbytes())))


def sample_count(batch: Any) -> int:
    """Return how many samples a batch holds: the length of its first tensor."""
    for tensor in tensors(batch):
        return len(tensor) if tensor.ndim else 1
    return 0
