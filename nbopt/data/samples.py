"""Where the samples of a batch are, and some of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from nbopt.data.tree import tensors, tree_map

LABELS, SAMPLES, SUM = "labels", "samples", "sum"
"""What a part of a batch counts: as the labels in it that count, as its samples, or fully, as the loss is a sum."""


def find_samples(batch: Any, target: Any = None) -> int | None:
    """Return which of a batch's tensors has one row for each sample; None if that cannot be told.

    That is the target or, if that is not known or no part of the batch, a tensor that is as long; at last, one as long
    as most of the others.
    """
    columns = list(tensors(batch))
    lengths = [len(column) if column.ndim else 0 for column in columns]
    if isinstance(target, Tensor) and target.ndim:
        same = [k for k, column in enumerate(columns) if column is target]
        alike = [k for k, length in enumerate(lengths) if length == len(target)]
        return next(iter([*same, *alike]), None)
    if isinstance(batch, (tuple, list)) and len(batch) == 2 and isinstance(batch[1], Tensor) and batch[1].ndim:
        return len(columns) - 1
    found = Counter(length for length in lengths if length)
    return lengths.index(found.most_common(1)[0][0]) if found else None


def find_rows(batch: Any, target: Any) -> int | None:
    """Return which of a batch's tensors has a row for each sample, where each of these has several targets in a row."""
    leaf = find_samples(batch)
    if leaf is None or not isinstance(target, Tensor) or not target.ndim:
        return None
    return None if len(target) % count_samples(batch, leaf) else leaf


# Scripts hold these as they are written here, so in lines of 80 characters.


def count_samples(batch: Any, leaf: int) -> int:
    """Return how many samples a batch has.

    It is told by the tensor that `find_samples` found.
    """
    return len(list(tensors(batch))[leaf])


def cut(batch: Any, count: int, start: int, stop: int) -> Any:
    """Return some samples of a batch of ``count``.

    Tensors of another length are not of samples, and stay whole.
    """

    def piece(column: Tensor) -> Tensor:
        of_samples = column.ndim and len(column) == count
        return column[start:stop] if of_samples else column

    return tree_map(piece, batch)


def parts_of_tree(batch: Any, size: int, count: int) -> Iterator[tuple[Any, float]]:
    """Yield a batch of ``count`` samples in parts, each with its share of them.

    Of size 0, that is in one.
    """
    for start in range(0, count, size or count):
        stop = min(start + (size or count), count)
        yield cut(batch, count, start, stop), (stop - start) / count
