"""A validation set cut off the training data: seeded, stratified where the labels are classes."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Subset, TensorDataset

from nbopt.data.dataset_source import DatasetSource, Gathered
from nbopt.data.order import is_permutation, permuting
from nbopt.data.sources import AnySource, Samples
from nbopt.data.stream_source import StreamSource
from nbopt.data.tensor_source import TensorSource
from nbopt.i18n import _
from nbopt.loading import without_collecting


def split(source: AnySource, fraction: float, seed: int) -> tuple[Any, Any]:
    """Cut ``source`` in two.

    Parameters
    ----------
    source : source
        All samples.
    fraction : float
        Share of them that goes to validation, in (0, 1).
    seed : int
        Decides which samples.

    Returns
    -------
    train, val : sources
        Disjoint, together all samples.

    Raises
    ------
    ValueError
        If the fraction leaves one side empty, or the source is a stream of batches.
    """
    with without_collecting():
        from sklearn.model_selection import train_test_split

    sampled = isinstance(source, DatasetSource) and source.sampler is not None
    if isinstance(source, StreamSource) or (sampled and not is_permutation(source.sampler)):
        raise ValueError(
            _("val={fraction} needs train as arrays or a Dataset; give val its own data.", fraction=fraction)
        )
    assert source.size is not None
    labels = class_labels(source, fraction)
    try:
        train, val = train_test_split(
            range(source.size), test_size=fraction, random_state=seed % 2**32, stratify=labels
        )
    except ValueError as error:
        raise ValueError(
            _(
                "val={fraction} cannot be split off {size} samples: {error}",
                fraction=fraction,
                size=source.size,
                error=error,
            )
        ) from error
    return _subset(source, torch.tensor(train), role="train"), _subset(source, torch.tensor(val), role="val")


def class_labels(source: Samples, fraction: float) -> Any:
    """Return labels to stratify by when ``fraction`` is cut off, of shape (n,) or (n, k), or None.

    Labels are numbers without fractions, of any type: class indices, one-hot rows, several labels a sample. Each of
    them has to occur twice at least, and neither part may hold fewer samples than there are different ones. Those of a
    dataset are looked up where they are in memory; samples are not fetched to find out.
    """
    y = _targets(source) if isinstance(source, TensorSource) else _labels_in_memory(source.dataset)
    if y is None or y.ndim not in (1, 2) or y.is_complex():
        return None
    if y.is_floating_point() and not bool((y == y.round()).all()):
        return None
    counts = torch.unique(y, return_counts=True, dim=0)[1]
    cut_off = math.ceil(fraction * len(y))
    enough = len(counts) <= min(cut_off, len(y) - cut_off, len(y) // 2)
    return y.cpu().numpy() if enough and int(counts.min()) >= 2 else None


def _targets(source: TensorSource) -> Tensor | None:
    """Return what labels may be: the last column or, of targets by name, those that are whole numbers, as one."""
    if source.structure is None:
        return source.columns[-1] if len(source.columns) > 1 else None
    labels = [column for column in source.targets.values() if is_label(column)]
    return torch.stack([column.long() for column in labels], 1) if labels else None


def is_label(column: Tensor) -> bool:
    """Whether a column of several is stratified by: one whole number a sample."""
    return column.ndim == 1 and not column.is_floating_point() and not column.is_complex()


def _labels_in_memory(dataset: Any) -> Tensor | None:
    """Return the labels of a list of pairs, of rows of tensors, of torchvision's datasets, or of subsets of these."""
    if isinstance(dataset, Subset):
        labels = _labels_in_memory(dataset.dataset)
        return None if labels is None else labels[torch.as_tensor(dataset.indices, dtype=torch.int64)]
    if isinstance(dataset, list):
        pairs = all(isinstance(sample, (tuple, list)) and len(sample) == 2 for sample in dataset)
        found: Any = [sample[1] for sample in dataset] if pairs else None
    elif isinstance(dataset, (TensorDataset, Gathered)):
        columns = dataset.tensors if isinstance(dataset, TensorDataset) else dataset.columns
        found = columns[-1] if len(columns) == 2 and columns[-1].layout == torch.strided else None
    else:
        found = getattr(dataset, "targets", None)
    try:
        if isinstance(found, list) and found and isinstance(found[0], Tensor):
            found = torch.stack(found)
        labels = None if found is None else torch.as_tensor(found)
    except (TypeError, ValueError, RuntimeError):  # texts, samples of several kinds
        return None
    return labels if labels is not None and labels.ndim and len(labels) == len(dataset) else None


def _subset(source: Samples, index: Tensor, role: str) -> Samples:
    """Return some samples: training data in the source's way, validation data in order, and all of them."""
    part: Samples
    shuffle = source.shuffle and role == "train"
    drawn = None if source.sampler is None or role != "train" else permuting(len(index), source.sampler)
    if isinstance(source, TensorSource):
        part = TensorSource(tuple(column[index] for column in source.columns), shuffle, source.collate, drawn)
        part.needed, part.adaptable = source.needed, source.adaptable
    else:
        subset: Subset[Any] = Subset(source.dataset, index.tolist())
        workers = source.workers and source.workers.over(subset)
        part = DatasetSource(subset, source.collate, drawn, shuffle, workers, source.generator)
    part.batch_size, part.converted = source.batch_size, source.converted
    part.drop_last = source.drop_last and role == "train"
    return part
