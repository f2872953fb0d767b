"""What is known of a Python value: whose it is, and whether it can change or only be exchanged for another."""

from __future__ import annotations

import enum
import functools
from itertools import chain
from types import BuiltinFunctionType, CellType, FunctionType, MethodDescriptorType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn

_CONSTANTS = (bool, int, float, complex, str, bytes, type(None), type(...), range, slice, np.generic)
_TORCH_CONSTANTS = (torch.dtype, torch.device, torch.layout, torch.memory_format, torch.Size)
PURE = {
    *("math", "cmath", "operator", "_operator", "itertools", "functools", "_functools", "collections"),
    *("collections.abc", "_collections", "typing", "types", "dataclasses", "enum", "numbers", "abc", "contextlib"),
}
"""The libraries whose functions and classes keep nothing from one call to the next."""

MISSING = object()
"""Stands where nothing stands under a name."""


def is_users(kind: type) -> bool:
    """Whether a class is neither torch's nor of a library that keeps nothing."""
    return not is_torchs(kind) and kind.__module__ != "builtins" and kind.__module__ not in PURE


def is_constant(value: Any) -> bool:
    """Whether a value can only be exchanged, not changed."""
    if isinstance(value, (tuple, frozenset)):
        return all(map(is_constant, value))
    if isinstance(value, enum.Enum):
        return is_constant(value.value)
    return isinstance(value, (*_CONSTANTS, *_TORCH_CONSTANTS))


def is_torchs(value: Any) -> bool:
    """Whether a module, class or function is torch's."""
    if isinstance(value, ModuleType):
        home = value.__name__
    elif isinstance(value, BuiltinFunctionType):
        home = str(value.__module__)
    elif isinstance(value, FunctionType):
        home = str(value.__globals__.get("__name__"))
    elif isinstance(value, (type, MethodDescriptorType)):
        home = (value if isinstance(value, type) else value.__objclass__).__module__
    else:
        home = type(value).__module__ if callable(value) and not isinstance(value, (nn.Module, torch.Tensor)) else ""
    return home == "torch" or home.startswith("torch.")


def parts_of(value: functools.partial[Any]) -> list[Any]:
    """Return what a partial function is made of."""
    return [value.func, *value.args, *chain.from_iterable(sorted(value.keywords.items()))]


def is_record(value: Any) -> bool:
    """Whether an object is no more than its fields."""
    if type(value) is SimpleNamespace:
        return True
    plain = is_users(type(value)) and not callable(value) and hasattr(value, "__dict__")
    odd = ("__getattr__", "__getattribute__", "__slots__")
    classes = [kind for kind in type(value).__mro__ if kind is not object]
    return plain and all(is_users(kind) and vars(kind).keys().isdisjoint(odd) for kind in classes)


def function_of(value: Any) -> Any:
    """Return the function that a method, a property or the like is made of."""
    if isinstance(value, property):
        return value.fget
    if isinstance(value, functools.cached_property):
        return value.func
    return value.__func__ if isinstance(value, (staticmethod, classmethod)) else value


def is_pure(function: FunctionType | BuiltinFunctionType) -> bool:
    """Whether a function is of a library that keeps nothing, or of a named tuple."""
    home = str(function.__module__)
    return home in PURE or home.startswith("namedtuple_")


def contents(cell: CellType) -> Any:
    """Return what a variable of a closure stands for now; `MISSING` before it has a value."""
    try:
        return cell.cell_contents
    except ValueError:  # nothing yet
        return MISSING


def differ(one: Any, other: Any) -> bool:
    """Whether two values are not the same; only constants may be equal without being one object."""
    if one is other:
        return False
    if isinstance(one, functools.partial) and isinstance(other, functools.partial):
        ours, theirs = parts_of(one), parts_of(other)
        return len(ours) != len(theirs) or any(map(differ, ours, theirs))
    return not (is_constant(one) and type(one) is type(other) and repr(one) == repr(other))
