"""The callables that a user gives a run, and the objects that they bring along."""

from __future__ import annotations

import functools
from types import MethodType
from typing import Any

from torch import Tensor

from nbopt.objects.kinds import is_constant


def functions_of(loss: Any) -> list[Any]:
    """Return the callables of the user's that a loss is made of."""
    return [*loss.functions, *(f for term in getattr(loss, "terms", {}).values() for f in functions_of(term))]


def owners_of(function: Any) -> list[Any]:
    """Return the objects that a callable brings along, which may keep something from call to call."""
    if isinstance(function, functools.partial):
        inner = [function.func, *function.args, *function.keywords.values()]
        return [owner for item in inner for owner in owners_of(item)]
    if isinstance(function, MethodType):
        return owners_of(function.__self__)
    plain = function is None or isinstance(function, (str, int, float, complex, bytes, tuple, Tensor))
    return [] if plain or is_constant(function) else [function]
