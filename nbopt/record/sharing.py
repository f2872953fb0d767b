"""Facts of snapshots that are alike, held once."""

from __future__ import annotations

import marshal
from typing import Any


def shared(value: Any, known: Any) -> Any:
    """Return what JSON can hold, with the lists and dictionaries of ``known`` that are the same; none is written to.

    A number is not the same as one of another type, nor is 0.0 as -0.0.
    """
    if type(value) is not type(known) or not isinstance(value, (dict, list)):
        return value
    if _are_same(value, known):
        return known
    if isinstance(value, dict):
        return {key: shared(part, known.get(key)) for key, part in value.items()}
    return [shared(*pair) for pair in zip(value, known, strict=False)] + value[len(known) :]


def _are_same(value: Any, known: Any) -> bool:
    try:  # version 2: later ones write an object met again otherwise
        return bool(value == known) and marshal.dumps(value, 2) == marshal.dumps(known, 2)
    except (ValueError, RuntimeError):  # arrays, or what is no plain value
        return False
