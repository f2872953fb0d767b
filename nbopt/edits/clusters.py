"""Putting the numbers of a weight into clusters."""

from __future__ import annotations

import torch
from torch import Tensor

_ROUNDS = 50


def find_clusters(weight: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the means of clusters of a weight's numbers, and for each place its own.

    That is k-means, of numbers on a line, begun with means evenly spaced from the
    smallest to the largest number, which Han et al. (2016, section 3.2) found to serve
    accuracy best. Nothing is drawn.

    Parameters
    ----------
    weight : Tensor
    count : int

    Returns
    -------
    means : Tensor
        (count,), of the weight's type, on its device.
    places : Tensor
        Of the weight's shape, int64.
    """
    numbers = weight.detach().to("cpu", torch.float64).reshape(-1)
    ends = float(numbers.min()), float(numbers.max())
    means = torch.linspace(*ends, count, dtype=torch.float64)
    places = torch.zeros(len(numbers), dtype=torch.int64)
    for _round in range(_ROUNDS):
        nearest = torch.bucketize(numbers, (means[1:] + means[:-1]) / 2)
        sizes = torch.bincount(nearest, minlength=count)
        sums = torch.zeros(count, dtype=torch.float64).index_add_(0, nearest, numbers)
        means = torch.where(sizes > 0, sums / sizes.clamp(min=1), means).sort().values
        if torch.equal(nearest, places):
            break
        places = nearest
    places = torch.bucketize(numbers, (means[1:] + means[:-1]) / 2)
    means, places = means.to(weight.dtype), places.reshape(weight.shape)
    return means.to(weight.device), places.to(weight.device)
