"""Batches are trees: tensors in tuples, lists, mappings and dataclasses. What acts on each tensor is here.

Scripts hold these functions as they are written: therefore lines of 80 characters.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

import torch
from torch import Tensor


def tree_map(function: Callable[[Any], Any], tree: Any) -> Any:
    """Return ``tree`` with ``function`` applied to each tensor.

    Anything else stays as it is. Containers keep their class, and those in
    which nothing changes are returned themselves.
    """
    if isinstance(tree, Tensor):
        return function(tree)
    changed = {}
    for key, item in items_of(tree):
        made = tree_map(function, item)
        if made is not item:
            changed[key] = made
    return with_items(tree, changed) if changed else tree


def to_device(tree: Any, device: torch.device) -> Any:
    """Return a batch on ``device``: its tensors, and all else that can move.

    Those are objects with a method ``to``, as graphs and encodings have.
    """
    if callable(getattr(tree, "to", None)) and not isinstance(tree, type):
        moved = tree.to(device)
        return tree if moved is None else moved  # moved in place
    changed = {}
    for key, item in items_of(tree):
        made = to_device(item, device)
        if made is not item:
            changed[key] = made
    return with_items(tree, changed) if changed else tree


def items_of(tree: Any) -> list[tuple[Any, Any]]:
    """Return the items of a container with their keys; none of what is none."""
    if isinstance(tree, (tuple, list)):
        return list(enumerate(tree))
    if isinstance(tree, Mapping):
        return list(tree.items())
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        names = [field.name for field in dataclasses.fields(tree)]
        return [(name, getattr(tree, name)) for name in names]
    return []


def with_items(tree: Any, changed: Mapping[Any, Any]) -> Any:
    """Return a container of the same class in which some items are others."""
    if isinstance(tree, (tuple, list)):
        items = [changed.get(key, item) for key, item in enumerate(tree)]
        return type(tree)(*items) if hasattr(tree, "_fields") else type(tree)(items)
    if isinstance(tree, MutableMapping):
        made = copy.copy(tree)
        for key, item in changed.items():
            made[key] = item
        return made
    if isinstance(tree, Mapping):
        return type(tree)({**tree, **changed})  # type: ignore[call-arg]
    made = copy.copy(tree)
    for name, item in changed.items():
        object.__setattr__(made, name, item)  # also where the class is frozen
    return made


def tensors(tree: Any) -> Iterator[Tensor]:
    """Walk the tensors of a batch."""
    if isinstance(tree, Tensor):
        yield tree
    for _key, item in items_of(tree):
        yield from tensors(item)
