"""The Pareto front: what nothing else beats in every objective."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BLOCK = 256  # rows compared with all others at once


def undominated(losses: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which rows no other one beats: none is at most as large in all columns, and smaller in one.

    Parameters
    ----------
    losses : ndarray, shape (points, objectives)
        To be minimized.

    Examples
    --------
    >>> import numpy as np
    >>> from nbopt.search.results.front import undominated
    >>> undominated(np.array([[0.0, 2.0], [1.0, 1.0], [1.0, 2.0]])).tolist()
    [True, True, False]
    """
    found = np.ones(len(losses), bool)
    for start in range(0, len(losses), _BLOCK):
        own = losses[start : start + _BLOCK, None]
        beaten = np.all(losses[None] <= own, axis=2) & np.any(losses[None] < own, axis=2)
        found[start : start + _BLOCK] = ~np.any(beaten, axis=1)
    return found
