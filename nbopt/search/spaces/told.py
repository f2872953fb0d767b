"""Values as JSON can hold them: an option that it cannot hold, as a text of its own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from nbopt.search.spaces.dimension import Dimension, is_among

_PLAIN = (bool, int, float, str, type(None))


def tell(dimension: Dimension, value: Any) -> Any:
    """Return a value of a dimension as JSON can hold it; `mean` finds it again."""
    if is_plain(value):
        return value
    options = Dimension.of(dimension.spec).options
    return _texts(options)[_position(dimension, value)] if options else text_of(value)


def tell_each(dimension: Dimension, values: Iterable[Any]) -> list[Any]:
    """Return several values of a dimension as JSON can hold them."""
    return [tell(dimension, value) for value in values]


def mean(dimension: Dimension, told: Any) -> Any:
    """Return the value that is told of so."""
    options = Dimension.of(dimension.spec).options
    if not isinstance(told, str) or is_among(told, options):
        return told
    texts = _texts(options)
    return options[texts.index(text)] if (text := _without_place(told)) in texts else told


def tell_all(space: Mapping[str, Dimension], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values of a space as JSON can hold them; `mean_all` finds them again."""
    return {name: tell(space[name], value) for name, value in values.items()}


def mean_all(space: Mapping[str, Dimension], told: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that are told of so."""
    return {name: mean(space[name], value) for name, value in told.items()}


def is_plain(value: Any) -> bool:
    """Whether JSON can hold a value by itself."""
    return isinstance(value, _PLAIN)


def text_of(value: Any) -> str:
    """Return a text that tells of a value, the same in each process."""
    return _without_place(str(value))


def _position(dimension: Dimension, value: Any) -> int:
    return Dimension.of(dimension.spec).position(value)


def _texts(options: tuple[Any, ...]) -> list[Any]:
    """Return what tells of each option; of several that are told of alike, with its place among them."""
    found: list[Any] = []
    for option in options:
        text = option if is_plain(option) else text_of(option)
        same = sum(known == text or str(known).startswith(f"{text} (") for known in found)
        found.append(text if is_plain(option) or not same else f"{text} ({same + 1})")
    return found


def _without_place(text: str) -> str:
    """Leave out where in memory something is, which is another place in each process."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)
