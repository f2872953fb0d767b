"""Places along a dimension, as the journal holds them: ``[[first, last + 1], ...]``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def to_ranges(places: Tensor) -> list[list[int]]:
    """Return sorted places as ranges.

    Examples
    --------
    >>> to_ranges(torch.tensor([0, 1, 2, 5]))
    [[0, 3], [5, 6]]
    """
    if not len(places):
        return []
    cuts = torch.nonzero(places[1:] != places[:-1] + 1).flatten() + 1
    parts = torch.tensor_split(places, cuts)
    return [[int(part[0]), int(part[-1]) + 1] for part in parts]


def from_ranges(ranges: Any, size: int) -> Tensor:
    """Return places from ranges.

    Raises
    ------
    ValueError
        If they are not within ``size``, or not in order.
    """
    flat = [end for pair in ranges for end in pair]
    if flat != sorted(flat) or (flat and not 0 <= flat[0] <= flat[-1] <= size):
        raise ValueError(f"no ranges of {size} places: {ranges}")
    parts = [torch.arange(first, end) for first, end in ranges]
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.int64)


def is_ranges(value: Any) -> bool:
    """Whether a value from a journal is ranges."""
    return isinstance(value, list) and all(
        isinstance(pair, list) and len(pair) == 2 and all(type(end) is int and end >= 0 for end in pair)
        for pair in value
    )
