"""Values as JSON can hold them: an option that it cannot hold, as a text of its own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from nbopt.search.spaces.dimension import Dimension, is_among

_PLAIN = (bool, int, float, str, type(None))


def encode(dimension: Dimension, value: Any) -> Any:
    """Return a value of a dimension as JSON can hold it; `decode` finds it again."""
    if is_plain(value):
        return value
    options = Dimension.of(dimension.spec).options
    return _texts(options)[_position(dimension, value)] if options else text_of(value)


def encode_each(dimension: Dimension, values: Iterable[Any]) -> list[Any]:
    """Return several values of a dimension as JSON can hold them."""
    return [encode(dimension, value) for value in values]


def decode(dimension: Dimension, encoded: Any) -> Any:
    """Return the value of a dimension that `encode` returned this for."""
    options = Dimension.of(dimension.spec).options
    if not isinstance(encoded, str) or is_among(encoded, options):
        return encoded
    texts = _texts(options)
    return options[texts.index(text)] if (text := _without_place(encoded)) in texts else encoded


def decode_each(dimension: Dimension, encoded: Iterable[Any]) -> list[Any]:
    """Return the values of a dimension that `encode_each` returned these for."""
    return [decode(dimension, value) for value in encoded]


def encode_all(space: Mapping[str, Dimension], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values of a space as JSON can hold them; `decode_all` finds them again."""
    return {name: encode(space[name], value) for name, value in values.items()}


def decode_all(space: Mapping[str, Dimension], encoded: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that `encode_all` returned these for."""
    return {name: decode(space[name], value) for name, value in encoded.items()}


def is_plain(value: Any) -> bool:
    """Whether JSON can hold a value by itself."""
    return isinstance(value, _PLAIN)


def text_of(value: Any) -> str:
    """Return a value as text, the same in each process."""
    return _without_place(str(value))


def _position(dimension: Dimension, value: Any) -> int:
    return Dimension.of(dimension.spec).position(value)


def _texts(options: tuple[Any, ...]) -> list[Any]:
    """Return each option as JSON can hold it; of several with the same text, with its place among them."""
    found: list[Any] = []
    for option in options:
        text = option if is_plain(option) else text_of(option)
        same = sum(known == text or str(known).startswith(f"{text} (") for known in found)
        found.append(text if is_plain(option) or not same else f"{text} ({same + 1})")
    return found


def _without_place(text: str) -> str:
    """Leave out where in memory something is, which is another place in each process."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)
