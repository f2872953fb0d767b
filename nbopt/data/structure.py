"""Columns given by name: how the tensors of a `TensorSource` make up a batch of mappings and tuples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nbopt.data.columns import is_array
from nbopt.data.places import Place


class Structure:
    """Makes batches of columns; see `take_apart`.

    Parameters
    ----------
    tree : mapping or tuple
        With the number of each column in its place.
    places : list of tuple
        Where each column stands.
    """

    def __init__(self, tree: Any, places: list[Place]) -> None:
        self._tree = tree
        self.places = places

    def __call__(self, columns: Sequence[Any]) -> Any:
        """Return the batch of a part of each column: mappings as dicts, tuples of their class."""
        return _filled(self._tree, columns)


def take_apart(data: Any) -> tuple[list[Any], Structure]:
    """Return the arrays in mappings and tuples, and what makes batches like these of them.

    Examples
    --------
    >>> import numpy as np
    >>> from nbopt.data.structure import take_apart
    >>> columns, structure = take_apart((np.zeros((4, 2)), {"digit": np.zeros(4), "angle": np.ones(4)}))
    >>> structure.places
    [(0,), (1, 'digit'), (1, 'angle')]
    >>> structure("xyz")
    ('x', {'digit': 'y', 'angle': 'z'})
    """
    columns: list[Any] = []
    places: list[Place] = []

    def take(item: Any, place: Place) -> Any:
        if is_array(item):
            columns.append(item)
            places.append(place)
            return len(columns) - 1
        if isinstance(item, Mapping):
            return {key: take(part, (*place, key)) for key, part in item.items()}
        names = getattr(item, "_fields", range(len(item)))
        parts = [take(part, (*place, key)) for key, part in zip(names, item, strict=True)]
        return type(item)(*parts) if hasattr(item, "_fields") else tuple(parts)

    return columns, Structure(take(data, ()), places)


def _filled(tree: Any, columns: Sequence[Any]) -> Any:
    if isinstance(tree, int):
        return columns[tree]
    if isinstance(tree, dict):
        return {key: _filled(part, columns) for key, part in tree.items()}
    parts = [_filled(part, columns) for part in tree]
    return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)


def is_structured(data: Any) -> bool:
    """Whether data are arrays in mappings and tuples, but not all of them side by side in one tuple."""
    return _holds_arrays(data) and not (isinstance(data, tuple) and all(map(is_array, data)))


def _holds_arrays(item: Any) -> bool:
    parts = list(item.values()) if isinstance(item, Mapping) else list(item) if isinstance(item, tuple) else []
    return bool(parts) and all(is_array(part) or _holds_arrays(part) for part in parts)
