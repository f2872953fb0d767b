"""Whether what a store holds has the form that `nbopt.objects.taking` writes."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any

_SEQUENCES = ("list", "tuple", "set", "deque")


def is_kept(kept: Any, tensors: Container[str]) -> bool:
    """Whether ``kept`` is what `nbopt.training.snapshots.outside.keep` returns, with these tensors."""
    try:
        roots, extra = kept["roots"], kept["extra"]
        right = isinstance(kept["token"], str) and isinstance(roots, dict) and {"extra", "best"} <= extra.keys()
        return right and "optimizer" in roots and all(is_packed(v, tensors) for v in (*roots.values(), *extra.values()))
    except (KeyError, TypeError, AttributeError, IndexError, ValueError, RecursionError):
        return False


def is_packed(value: Any, tensors: Container[str]) -> bool:
    """Whether ``value`` stands for a value; may raise what indexing raises where it does not."""
    if not isinstance(value, dict):
        return value is None or isinstance(value, (bool, int, float, str))

    def all_packed(values: Any) -> bool:
        return isinstance(values, list) and all(is_packed(item, tensors) for item in values)

    def named(pairs: Any, length: int = 2) -> bool:
        return isinstance(pairs, list) and all(
            len(pair) == length and isinstance(pair[0], str) and is_packed(pair[1], tensors) for pair in pairs
        )

    checks: dict[str, Callable[[], bool]] = {
        "ref": lambda: _is_count(value["ref"]),
        "part": lambda: isinstance(value["part"], str),
        "left": lambda: isinstance(value["left"], str),
        "atom": lambda: [type(item) for item in value["atom"]] == [str, int, str],
        "float": lambda: value["float"] in ("nan", "inf", "-inf"),
        "complex": lambda: all_packed(value["complex"]) and len(value["complex"]) == 2,
        "bytes": lambda: isinstance(value["bytes"], str) and isinstance(value["changes"], bool),
        "number": lambda: isinstance(value["number"], str) and isinstance(value["dtype"], str),
        "tensor": lambda: value["tensor"] in tensors and isinstance(value["device"], bool),
        "array": lambda: value["array"] in tensors and isinstance(value["dtype"], str) and _are_counts(value["shape"]),
        "view": lambda: is_packed(value["view"], tensors) and _are_counts(value["size"]) and _is_count(value["offset"]),
        "dict": lambda: all(len(pair) == 2 and all_packed(pair) for pair in value["dict"]),
        "object": lambda: named(value["object"]) and isinstance(value["class"], str),
        "module": lambda: (
            all(map(named, (value["module"], value["buffers"], value["children"])))
            and named(value["weights"], 3)
            and isinstance(value["class"], str)
        ),
    }
    checks |= {kind: lambda kind=kind: all_packed(value[kind]) for kind in _SEQUENCES}  # type: ignore[misc]
    found = [check for kind, check in checks.items() if kind in value]
    return len(found) == 1 and found[0]()


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**53


def _are_counts(values: Any) -> bool:
    return isinstance(values, list) and all(map(_is_count, values))
