"""Rates of parameter groups, of which the largest is live: the others keep their proportion to it."""

from __future__ import annotations

from typing import Any

SHARED_OUT = ("lr", "weight_decay")


# A script holds it as it is written here, so in lines of 88 characters.
def share_out(
    value: Any,
    name: str,
    given: dict[str, Any],
    shown: dict[str, Any],
) -> Any:
    """Return what a value is in a parameter group: rates keep their proportions.

    As it was shown at first, it is what the group was given.
    """
    if value == shown.get(name):
        return given[name]
    if name not in ("lr", "weight_decay") or not shown.get(name):
        return value
    return value * (float(given[name]) / shown[name])
