"""Batches are trees: a tensor, or tuples, lists and dicts of them. What acts on each tensor is here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor


def tree_map(function: Callable[[Tensor], Tensor], tree: Any) -> Any:
    """Return ``tree`` with ``function`` applied to each tensor; anything else stays as it is."""
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(tree_map(function, item) for item in tree))
    if isinstance(tree, (tuple, list)):
        return type(tree)(tree_map(function, item) for item in tree)
    if isinstance(tree, dict):
        return {key: tree_map(function, item) for key, item in tree.items()}
    return tree


def tensors(tree: Any) -> Iterator[Tensor]:
    """Walk the tensors of a batch."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, (tuple, list)):
        for item in tree:
            yield from tensors(item)
    elif isinstance(tree, dict):
        for item in tree.values():
            yield from tensors(item)
