"""Facts of snapshots that are alike, held once."""

from __future__ import annotations

from typing import Any


def shared(value: Any, known: Any) -> Any:
    """Return what JSON can hold, with all the parts of ``known`` that are the same: neither is ever written to.

    A number is not the same as one of another type, nor is 0.0 as -0.0.
    """
    kind = type(value)
    if kind is not type(known):
        return value
    if kind is dict:
        named = {key: shared(part, known.get(key)) for key, part in value.items()}
        same = [*named] == [*known] and all(part is known[key] for key, part in named.items())
        return known if same else named
    if kind is list:
        parts = [shared(*pair) for pair in zip(value, known, strict=False)]
        same = len(value) == len(known) and all(part is other for part, other in zip(parts, known, strict=True))
        return known if same else parts + value[len(parts) :]
    return known if value == known and (kind is not float or repr(value) == repr(known)) else value
