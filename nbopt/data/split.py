"""A validation set cut off the training data: seeded, stratified where the labels are classes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Subset

from nbopt.data.sources import AnySource, DatasetSource, StreamSource
from nbopt.data.tensor_source import TensorSource
from nbopt.words import _


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
    from sklearn.model_selection import train_test_split

    if isinstance(source, StreamSource) or source.sampled:
        raise ValueError(
            _("val={fraction} needs train as arrays or a Dataset; give val its own data.", fraction=fraction)
        )
    assert source.size is not None
    labels = class_labels(source)
    try:
        train, val = train_test_split(
            range(source.size), test_size=fraction, random_state=seed % 2**32, stratify=labels
        )
    except ValueError as error:
        raise ValueError(
            _(
                "val={fraction} cannot be cut off {size} samples: {error}",
                fraction=fraction,
                size=source.size,
                error=error,
            )
        ) from error
    return _subset(source, torch.tensor(train)), _subset(source, torch.tensor(val))


def class_labels(source: TensorSource | DatasetSource) -> Any:
    """Return labels to stratify by, or None: whole numbers, each class with at least two samples."""
    if isinstance(source, DatasetSource) or len(source.columns) < 2:
        return None
    y = source.columns[-1]
    if y.ndim != 1 or y.is_floating_point() or y.is_complex():
        return None
    counts = torch.unique(y, return_counts=True)[1]
    return y.cpu().numpy() if int(counts.min()) >= 2 and len(counts) * 2 <= len(y) else None


def _subset(source: TensorSource | DatasetSource, index: Tensor) -> Any:
    if isinstance(source, TensorSource):
        part = TensorSource(tuple(column[index] for column in source.columns), source._shuffle)
        part.batch_size = source.batch_size
        return part
    subset: Subset[Any] = Subset(source.dataset, index.tolist())
    workers = source.workers and source.workers.over(subset)
    return DatasetSource(subset, source._collate, None, source._shuffle, source.batch_size, workers)
