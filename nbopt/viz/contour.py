"""Contour lines of a field of values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def contour(values: NDArray[np.generic], level: float) -> Floats:
    """Return the pieces of a contour line, by marching squares (Lorensen and Cline 1987, in the plane).

    Parameters
    ----------
    values : ndarray, shape (rows, columns)
    level : float

    Returns
    -------
    ndarray of float64, shape (pieces, 2, 2)
        Both ends of each piece, as column and row.

    Examples
    --------
    >>> contour(np.array([[0.0, 0.0], [1.0, 1.0]]), 0.5).tolist()
    [[[1.0, 0.5], [0.0, 0.5]]]
    """
    above = np.asarray(values, float) - level
    a, b, c, d = above[:-1, :-1], above[:-1, 1:], above[1:, 1:], above[1:, :-1]  # corners of each cell, clockwise
    row, column = np.indices(a.shape)

    def between(one: Floats, other: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            return one / (one - other)

    sides = [
        ((a > 0) != (b > 0), np.stack([column + between(a, b), row + 0.0], -1)),
        ((b > 0) != (c > 0), np.stack([column + 1.0, row + between(b, c)], -1)),
        ((d > 0) != (c > 0), np.stack([column + between(d, c), row + 1.0], -1)),
        ((a > 0) != (d > 0), np.stack([column + 0.0, row + between(a, d)], -1)),
    ]
    crossed, places = np.stack([side for side, _place in sides], -1), np.stack([place for _side, place in sides], -2)
    two, four = crossed.sum(-1) == 2, crossed.all(-1)
    pairs = places[two][crossed[two]].reshape(-1, 2, 2)
    return np.concatenate([pairs, places[four][:, :2], places[four][:, 2:]])
