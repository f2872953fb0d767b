"""Tables of few values, found by k-means in one dimension, and the nearest of them.

Scripts hold these functions as they are written here, so in lines of 88 characters.
"""

from __future__ import annotations

import torch
from torch import Tensor


def cluster(values: Tensor, size: int) -> Tensor:
    """Return the sorted means that k-means finds in values (n,), by Lloyd's algorithm.

    It begins with means evenly spaced from the least to the largest value, which Han et
    al. 2016, section 3.2, found best for weights.
    """
    if not values.numel():
        return values.new_zeros(size)
    ends = values.aminmax()
    steps = torch.linspace(0, 1, size, dtype=values.dtype, device=values.device)
    means = ends.min + (ends.max - ends.min) * steps
    ones = torch.ones_like(values)
    for _round in range(300):
        nearest = find_nearest(values, means)
        means, before = find_means(values, nearest, means, ones), means
        if torch.equal(means, before):
            break
    return means


def find_nearest(values: Tensor, means: Tensor) -> Tensor:
    """Return the position of the nearest of sorted means for each value."""
    return torch.bucketize(values, (means[1:] + means[:-1]) / 2)


def find_means(
    values: Tensor,
    nearest: Tensor,
    means: Tensor,
    shares: Tensor,
) -> Tensor:
    """Return the mean of the values (n,) at each position; else what it was."""
    count = torch.zeros_like(means).index_add_(0, nearest, shares)
    total = torch.zeros_like(means).index_add_(0, nearest, values)
    return torch.where(count > 0, total / count.clamp(min=1), means).sort().values


def make_tables(weights: list[Tensor], sizes: list[int]) -> list[Tensor]:
    """Return a table for each of several weights: of those that are not 0."""
    pairs = zip(weights, sizes, strict=True)
    return [cluster(weight[weight != 0], size) for weight, size in pairs]


def go_on(table: Tensor, weight: Tensor) -> Tensor:
    """Return a table after one more round on its weights."""
    values = weight.flatten()
    shares = (values != 0).to(values.dtype)
    nearest = find_nearest(values, table)
    return find_means(values, nearest, table, shares)


def take(table: Tensor, weight: Tensor) -> Tensor:
    """Return the nearest values of a table, with gradients as if weights stayed."""
    taken = weight.clone()  # which passes gradients on
    with torch.no_grad():
        values = table[find_nearest(weight, table)]
        return taken.copy_(values.masked_fill_(weight == 0, 0))
