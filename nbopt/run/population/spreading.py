"""Values spread over a range, for the members of a population."""

from __future__ import annotations

import math
import numbers

import numpy as np

from nbopt.i18n import _


def spread(low: float, high: float, n: int, log: bool | None = None) -> list[float]:
    """Return ``n`` values from ``low`` to ``high``, both included.

    Parameters
    ----------
    low, high : float
    n : int
        At least 1.
    log : bool, optional
        Whether they are evenly spaced on a log scale; by default where both are above 0 and ``high`` is at least ten
        times ``low``.

    Returns
    -------
    list of float

    Raises
    ------
    ValueError
        For numbers that are not finite, fewer than one value, or a log scale that does not begin above 0.

    Examples
    --------
    >>> import nbopt
    >>> nbopt.spread(0.001, 1, 4)
    [0.001, 0.01, 0.1, 1.0]
    >>> nbopt.spread(0, 0.5, 3)
    [0.0, 0.25, 0.5]
    """
    for name, value in (("low", low), ("high", high)):
        if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
            raise ValueError(_("spread: {name} must be a finite number; got {value!r}.", name=name, value=value))
    if isinstance(n, bool) or not isinstance(n, numbers.Integral) or n < 1:
        raise ValueError(_("spread: n must be a whole number of at least 1; got {value!r}.", value=n))
    low, high = float(low), float(high)
    positive = min(low, high) > 0
    if log and not positive:
        raise ValueError(_("spread: a log scale needs values above 0; got {low:g} to {high:g}.", low=low, high=high))
    if log is None:
        log = positive and max(low, high) >= 10 * min(low, high)
    found = np.geomspace(low, high, int(n)) if log else np.linspace(low, high, int(n))
    return [float(f"{value:.12g}") for value in found]
