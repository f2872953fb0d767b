"""Places in trees: where one of several outputs stands in what a model returns, and its target in what the data hold.

A place is a path of keys, of mappings, and names of fields or positions, of tuples and dataclasses: ``("digit",)``,
``("heads", 0)``. The empty one is the tree itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from nbopt.data.tree import items_of
from nbopt.errors import unknown
from nbopt.i18n import _

Key = str | int
Place = tuple[Key, ...]


# Scripts hold this as it is written here, so in lines of 80 characters.
def item_at(tree: Any, place: tuple[Any, ...]) -> Any:
    """Return what stands at a place that is there."""
    for key in place:
        named = isinstance(key, str) and not isinstance(tree, Mapping)
        tree = getattr(tree, key) if named else tree[key]
    return tree


def check_place(tree: Any, place: Place, what: str, way: str) -> Any:
    """Return what stands at a place, for a first look at a tree.

    Parameters
    ----------
    tree, place
    what, way : str
        What is looked up, and what to do if it is not there, for the error.

    Raises
    ------
    ValueError
        If there is nothing, or the tree has no places at all; names those that it has.
    """
    for key in place:
        keys = keys_of(tree)
        if not keys:
            given = describe_tree(tree)
            raise ValueError(
                _("there is no {what} {key!r} in {given}: {way}.", what=what, key=key, given=given, way=way)
            )
        if key not in keys:
            raise unknown(what, key, map(str, keys))
        tree = item_at(tree, (key,))
    return tree


def keys_of(tree: Any) -> list[Key]:
    """Return the keys, names of fields or positions in a container; none of what is none."""
    fields = list(getattr(tree, "_fields", ())) if isinstance(tree, tuple) else []
    return [*fields, *(key for key, _item in items_of(tree))]


def describe_tree(tree: Any) -> str:
    """Say what a tree is: shape and dtype of a tensor, the keys of a container."""
    if isinstance(tree, Tensor):
        return f"{tuple(tree.shape)} {str(tree.dtype).removeprefix('torch.')}"
    keys = keys_of(tree)
    return f"{type(tree).__name__} ({', '.join(map(str, keys))})" if keys else type(tree).__name__


def name_of(place: Place) -> str:
    """Return what the output at a place is called in curves and hyperparameters.

    Examples
    --------
    >>> from nbopt.data.places import name_of
    >>> [name_of(place) for place in (("digit",), (0,), ("heads", "angle"))]
    ['digit', 'output_0', 'heads_angle']
    """
    first, *others = place
    return "_".join([f"output_{first}" if isinstance(first, int) else first, *map(str, others)])


def write_place(place: Place, what: str) -> str:
    """Return what stands at a place as text, which `read_place` understands: ``heads/0: mse``."""
    return f"{'/'.join(map(str, place))}: {what}"


def read_place(text: str) -> tuple[Place, str]:
    """Return what `write_place` was given.

    Examples
    --------
    >>> from nbopt.data.places import read_place, write_place
    >>> write_place(("heads", 0), "mse")
    'heads/0: mse'
    >>> read_place("heads/0: mse")
    (('heads', 0), 'mse')
    """
    path, _colon, what = text.partition(": ")
    return tuple(int(key) if key.isdecimal() else key for key in path.split("/")), what


def grow(places: Sequence[Place], leaves: Iterable[Any]) -> Any:
    """Return a tree of mappings that has just these leaves at these places."""
    tree: dict[Key, Any] = {}
    for place, leaf in zip(places, leaves, strict=True):
        branch = tree
        for key in place[:-1]:
            branch = branch.setdefault(key, {})
        branch[place[-1]] = leaf
    return tree
