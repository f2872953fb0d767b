"""What JSON can hold, looked at before it is used: it is read from files that anybody may have written."""

from __future__ import annotations

import math

_MOST = 2**53  # steps, epochs, entries or bytes


def is_count(value: object) -> bool:
    """Whether ``value`` can be a number of steps, epochs, entries or bytes."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST


def is_number(value: object) -> bool:
    """Whether ``value`` is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
