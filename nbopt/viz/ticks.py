"""How far an axis reaches, and where it bears numbers: round ones, few enough to read."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Span = tuple[float, float]

LEAST = 1e-37
"""On a log axis; what is less is 0 in single precision, which has no place there."""


def extent(arrays: list[NDArray[np.float64]], log: bool = False) -> Span:
    """Return the range of y that holds all that is finite in ``arrays``, with a margin."""
    values = np.concatenate(arrays)
    values = values[np.isfinite(values) & (values > LEAST)] if log else values[np.isfinite(values)]
    if not len(values):
        return (0.1, 1.0) if log else (0.0, 1.0)
    low, high = float(values.min()), float(values.max())
    if log:
        return low / 1.1, high * 1.1
    largest = max(abs(low), abs(high))
    margin = 0.03 * (high - low) if high - low > 1e-6 * largest else 0.5 * largest or 0.5
    return low - margin, high + margin


def linear_ticks(low: float, high: float, most: int) -> list[float]:
    """Return multiples of 1, 2 or 5 times a power of ten within [low, high], at most ``most`` of them."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    for factor in (1, 2, 5, 10, 20, 50):
        step = power * factor
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            break
    ticks = [float(f"{k * step:.12g}") for k in range(first, last + 1)]
    return sorted(set(ticks))  # where the range is narrower than 12 digits tell apart


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """Return powers of ten within [low, high], with 2 and 5 times them where there is room.

    Where fewer than two lie in the range, linear ticks.
    """
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for mantissas in ((1, 2, 5), (1,)):
        ticks = [float(f"{m}e{d}") for d in decades for m in mantissas if low <= float(f"{m}e{d}") <= high]
        if len(ticks) < 2:
            return linear_ticks(low, high, most)
        if len(ticks) <= most:
            return ticks
    return ticks[:: math.ceil(len(ticks) / most)]


def tick_format(ticks: list[float]) -> str:
    """Return the d3 format that writes ``ticks`` with the digits that tell them apart, and no more."""
    largest = max(map(abs, ticks), default=0.0)
    decimals = next((d for d in range(6) if all(_reads_back(f"{tick:.{d}f}", tick) for tick in ticks)), None)
    if largest < 1e5 and decimals is not None:
        return f",.{decimals}~f"
    digits = next(d for d in range(1, 18) if all(_reads_back(f"{tick:.{d}g}", tick) for tick in ticks))
    return f".{digits}~s" if 1e5 <= largest < 1e12 else f".{max(4, digits)}~g"


def written(form: str, value: float) -> str:
    """Return what d3 writes for ``value`` in a format of `tick_format`."""
    digits = int("".join(filter(str.isdigit, form)))
    if form.endswith("f"):
        text = f"{value:,.{digits}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    if form.endswith("g"):
        mantissa, _e, exponent = f"{value:.{digits}g}".partition("e")
        return f"{mantissa}e{int(exponent):+}" if exponent else mantissa
    power = 0 if value == 0 else min(4, max(0, math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}"))) / 3)))
    return f"{float(f'{value:.{digits}g}') / 1000**power:.12g}{'kMGT'[power - 1] if power else ''}"


def _reads_back(text: str, value: float) -> bool:
    return math.isclose(float(text), value, rel_tol=1e-12)
