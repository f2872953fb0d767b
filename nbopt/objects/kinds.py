"""What kinds of values objects keep in their attributes: plain ones, constants, and those that nothing can copy."""

from __future__ import annotations

import datetime
import decimal
import enum
import fractions
import functools
import io
import logging
import pathlib
import random
import re
import sys
import types
import uuid
import weakref
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, Sampler

FUNCTIONS = (
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    functools.partial,
    np.ufunc,
    type(str.join),
    type((1).__add__),
    type(torch.Tensor.add),
)
GENERATORS = (torch.Generator, random.Random, np.random.Generator, np.random.RandomState, np.random.BitGenerator)
"""Random generators: what they drew is kept elsewhere."""

# Nothing in them changes, or what does is no business of a model's.
_CONSTANTS = (
    *FUNCTIONS,
    *GENERATORS,
    type,
    types.ModuleType,
    enum.Enum,
    torch.dtype,
    torch.device,
    torch.layout,
    torch.memory_format,
    np.dtype,
    logging.Logger,
    logging.Handler,
    pathlib.PurePath,
    re.Pattern,
    range,
    slice,
    property,
    weakref.ref,
    decimal.Decimal,
    fractions.Fraction,
    datetime.date,
    datetime.time,
    datetime.timedelta,
    datetime.tzinfo,
    uuid.UUID,
    type(Ellipsis),
    type(NotImplemented),
    types.GenericAlias,
    types.UnionType,
    DataLoader,
    Dataset,
    Sampler,
)
_CHANGING = frozenset((dict, list, tuple, set, deque, OrderedDict, torch.Tensor, nn.Parameter))
_LIBRARIES = frozenset(("torch", "numpy", "functorch", *sys.stdlib_module_names)) - {"__main__"}
STANDARD = frozenset(vars(nn.Module())) | {"_compiled_call_impl"}
"""What torch itself keeps in the attributes of each module."""

_WORD = tuple.__itemsize__
_HOLDERS = ("torch.nn", "torch.optim", "types", "argparse", "collections")  # ... but objects of these hold the user's

_MADE: tuple[type, ...] = (dict, list, set, frozenset, tuple, deque, OrderedDict, Counter, torch.Size)
CONTAINERS = {f"{kind.__module__}.{kind.__qualname__}": kind for kind in _MADE}
"""The classes that are made again by their names, whoever wrote these."""


def is_constant(value: object) -> bool:
    """Whether ``value`` is a function, a class or another thing in which steps change nothing."""
    home = type(value).__module__
    if type(value) in _CHANGING or home.startswith("torch.nn.modules."):  # most of what is asked for
        return False
    ours = home.startswith(("nbopt.", "torch._dynamo")) and not isinstance(value, nn.Module)
    return ours or home == "_thread" or isinstance(value, _CONSTANTS)


def is_open(value: object) -> bool:
    """Whether ``value`` goes on by itself when it is used, and cannot be put back: a file, an iterator."""
    return isinstance(value, (io.IOBase, Iterator, types.GeneratorType, types.CoroutineType))


def holds_attributes(value: object) -> bool:
    """Whether all that ``value`` holds are its attributes, as in an object of a class of the user's."""
    kind = type(value)
    home = kind.__module__.partition(".")[0]
    if (home in _LIBRARIES and not kind.__module__.startswith(_HOLDERS)) or is_open(value):
        return False
    slots = sum(len(_slots(part)) for part in kind.__mro__)
    own = sum(offset > 0 for offset in (kind.__dictoffset__, kind.__weakrefoffset__))
    return not kind.__itemsize__ and kind.__basicsize__ <= object.__basicsize__ + _WORD * (slots + own)


def attributes_of(value: object) -> dict[str, Any]:
    """Return an object's attributes, those in slots too."""
    slots = [name for part in type(value).__mro__ for name in _slots(part)]
    found = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    return {**found, **getattr(value, "__dict__", {})}


def own_attributes(module: nn.Module) -> dict[str, Any]:
    """Return a module's attributes but for what torch keeps in them."""
    if type(module).__module__.startswith("torch._dynamo"):  # a compiled one's
        return {}
    return {name: value for name, value in vars(module).items() if name not in STANDARD}


def set_attribute(value: object, name: str, to: Any) -> None:
    """Give an object an attribute, past what its class does where one is set."""
    if name not in getattr(value, "__dict__", ()) and any(name in _slots(part) for part in type(value).__mro__):
        object.__setattr__(value, name, to)
    else:
        vars(value)[name] = to


def describe_kind(value: object) -> str:
    """Return the name of a value's class, or a function's own, as far as it tells one from another."""
    if isinstance(value, functools.partial):
        return f"partial {describe_kind(value.func)}"
    code = getattr(value, "__code__", None)
    if isinstance(value, (*FUNCTIONS, type)):
        name = f"{getattr(value, '__module__', None)}.{getattr(value, '__qualname__', type(value).__qualname__)}"
        return f"{name}:{code.co_firstlineno}" if isinstance(code, types.CodeType) else name
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    if isinstance(value, (types.ModuleType, logging.Logger)):
        return f"{name} {getattr(value, '__name__', None) or getattr(value, 'name', '')}"
    plain = isinstance(value, _CONSTANTS) and not isinstance(value, (*GENERATORS, Dataset, DataLoader, Sampler))
    return f"{name} {value!r}"[:200] if plain and not isinstance(value, weakref.ref) else name


def say_kind(value: object) -> str:
    """Return a value's class in the user's words: ``a Foo``."""
    name = type(value).__name__
    article = "an" if name[0].lower() in "aeiou" else "a"
    return f"{article} {name}"


def _slots(kind: type) -> tuple[str, ...]:
    slots = kind.__dict__.get("__slots__", ())
    names = (slots,) if isinstance(slots, str) else tuple(slots)
    return tuple(name for name in names if name not in ("__dict__", "__weakref__"))


def name_of_kind(value: Any) -> str:
    """Return the full name of a value's class."""
    return f"{type(value).__module__}.{type(value).__qualname__}"
