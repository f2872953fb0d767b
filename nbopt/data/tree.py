"""Batches are trees: tensors in tuples, lists, mappings and dataclasses. What acts on each tensor is here."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from copy import copy
from typing import Any

import torch
from torch import Tensor


def is_tensor(tree: Any) -> bool:
    """Whether a tree is a single tensor."""
    return isinstance(tree, Tensor)


def tree_map(function: Callable[[Any], Any], tree: Any, is_leaf: Callable[[Any], bool] = is_tensor) -> Any:
    """Return ``tree`` with ``function`` applied to each leaf.

    Anything else stays as it is, and what holds no leaf that changed is returned itself. Containers keep their class.

    Parameters
    ----------
    function : callable
    tree : tree
    is_leaf : callable
        What ``function`` is applied to: by default each tensor.
    """
    if is_leaf(tree):
        return function(tree)
    if isinstance(tree, (tuple, list)):
        items = [tree_map(function, item, is_leaf) for item in tree]
        if all(new is old for new, old in zip(items, tree, strict=True)):
            return tree
        return type(tree)(*items) if hasattr(tree, "_fields") else type(tree)(items)
    if isinstance(tree, Mapping):
        mapped = {key: tree_map(function, item, is_leaf) for key, item in tree.items()}
        return _with(tree, {key: item for key, item in mapped.items() if item is not tree[key]})
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        fields = {field.name: getattr(tree, field.name) for field in dataclasses.fields(tree)}
        mapped = {name: tree_map(function, item, is_leaf) for name, item in fields.items()}
        changed = {name: item for name, item in mapped.items() if item is not fields[name]}
        made = copy(tree) if changed else tree
        for name, item in changed.items():
            object.__setattr__(made, name, item)  # also where the class is frozen
        return made
    return tree


def tensors(tree: Any) -> Iterator[Tensor]:
    """Walk the tensors of a batch."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, (tuple, list)):
        for item in tree:
            yield from tensors(item)
    elif isinstance(tree, Mapping):
        for item in tree.values():
            yield from tensors(item)
    elif dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        for field in dataclasses.fields(tree):
            yield from tensors(getattr(tree, field.name))


def to_device(tree: Any, device: torch.device) -> Any:
    """Return a batch on ``device``: its tensors, and what else has a method ``to``, as graphs and encodings have."""

    def move(leaf: Any) -> Any:
        moved = leaf.to(device)
        return leaf if moved is None else moved  # moved in place

    return tree_map(move, tree, _is_movable)


def _is_movable(tree: Any) -> bool:
    return isinstance(tree, Tensor) or (callable(getattr(tree, "to", None)) and not isinstance(tree, type))


def _with(tree: Mapping[Any, Any], changed: dict[Any, Any]) -> Any:
    """Return a mapping of the same class in which some items are others."""
    if not changed:
        return tree
    if isinstance(tree, MutableMapping):
        made = copy(tree)
        for key, item in changed.items():
            made[key] = item
        return made
    try:
        return type(tree)({**tree, **changed})  # type: ignore[call-arg]
    except TypeError:  # a class that is made in another way
        return {**tree, **changed}
