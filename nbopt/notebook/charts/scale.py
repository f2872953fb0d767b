"""The values that a control walks through, from a declaration."""

from __future__ import annotations

import bisect
import math
from typing import Any

from nbopt.hyperparams import Float, Hyperparam, Int

# Preferred numbers, ten to a decade (series R"10 of ISO 3): every stop of a log scale is a number one can say.
_DECADE = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)
_STOPS = 100


def stops(spec: Hyperparam[Any], value: Any) -> list[Any]:
    """Return the values a slider offers, in order; ``value`` is one of them, wherever it lies.

    Parameters
    ----------
    spec : Float or Int
    value : float or int
        The live value.
    """
    offered = _offered(spec)
    if value not in offered:
        bisect.insort(offered, value)
    return offered


def with_value(offered: list[Any], value: Any) -> list[Any]:
    """Return ``offered`` with ``value`` among them and all others where they were, by position.

    A browser tells a position, perhaps before it knows of a new value: so the value takes the place of the next higher
    one, or comes on top.
    """
    if value in offered:
        return offered
    place = bisect.bisect_left(offered, value)
    return [*offered[:place], value, *offered[place + 1 :]]


def _offered(spec: Hyperparam[Any]) -> list[Any]:
    if isinstance(spec, Float):
        return _log(spec) if spec.log else _linear(spec)
    assert isinstance(spec, Int)
    if spec.powers:
        return [0] * spec.zero + [2**k for k in range(spec.low.bit_length() - 1, spec.high.bit_length())]
    least = max(1, (spec.high - spec.low) // _STOPS)
    decade = 10 ** (len(str(least)) - 1)
    step = next(decade * k for k in (1, 2, 5, 10) if decade * k >= least)
    return [*[0] * spec.zero, spec.low, *range(spec.low // step * step + step, spec.high, step), spec.high]


def _log(spec: Float) -> list[float]:
    decades = range(math.floor(math.log10(spec.low)), math.floor(math.log10(spec.high)) + 1)
    values = [float(f"{mantissa}e{decade}") for decade in decades for mantissa in _DECADE]
    return [0.0] * spec.zero + [value for value in values if spec.low <= value <= spec.high]


def _linear(spec: Float) -> list[float]:
    step = 10.0 ** math.floor(math.log10((spec.high - spec.low) / _STOPS) + 0.5)
    count = int((spec.high - spec.low) / step + 1e-9)
    values = [round(spec.low + k * step, 10) for k in range(count + 1)]
    return [*(value for value in values if value < spec.high - 1e-6 * step), spec.high]
