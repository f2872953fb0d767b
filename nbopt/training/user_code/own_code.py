"""The user's own code that steps run: which functions there are, and whether they are what they were."""

from __future__ import annotations

import functools
import sysconfig
import zlib
from collections.abc import Iterator
from types import CodeType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from torch import nn

from nbopt.data.sources import StreamSource
from nbopt.objects.reaching import outer_values
from nbopt.training.compile.values import function_of, is_constant, is_users
from nbopt.training.user_code.callables import functions_of

if TYPE_CHECKING:
    from nbopt.training.training import Training

_NOT_IN_STEPS = {"__init__", "__repr__", "extra_repr", "reset_parameters"}
_ATTRIBUTES = ("dataset", "sampler", "batch_sampler", "collate_fn", "collate", "transform", "target_transform")
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def digest_code(training: Training) -> dict[str, int]:
    """Return a number for each of the user's functions that changes with what it does."""
    return {name: _digest(function.__code__) for name, function in own_functions(training)}


def own_functions(training: Training) -> list[tuple[str, FunctionType]]:
    """Return the user's functions that steps call, each with its name, as far as they can be found."""
    found: dict[CodeType, tuple[str, FunctionType]] = {}
    waiting = [*_given(training)]
    while waiting:
        name, function = waiting.pop(0)
        if function.__code__ not in found:
            found[function.__code__] = name, function
            waiting += _called_by(function)
    return list(found.values())


def _given(training: Training) -> Iterator[tuple[str, FunctionType]]:
    for module in (training.model, *training.material.others.values()):
        for part in module.modules():
            yield from _functions_of(part)
    for function in (training.pass_.forward, *functions_of(training.loss)):
        yield from _functions_of(function)
    for part in (*training.techniques, *data_parts(training)):
        yield from _functions_of(part)


def _functions_of(part: Any) -> Iterator[tuple[str, FunctionType]]:
    """Yield a function, or the methods of an object of the user's."""
    if isinstance(part, functools.partial):
        part = part.func
    if isinstance(part, MethodType):
        part = part.__func__
    if isinstance(part, FunctionType):
        if _is_own_function(part):
            yield part.__qualname__.rpartition("<locals>.")[2], part
        return
    for value in vars(part).values() if isinstance(part, nn.Module) else ():
        if isinstance(value, FunctionType):  # put in the place of a method
            yield from _functions_of(value)
    for kind in filter(is_own, type(part).__mro__):
        for name, value in vars(kind).items():
            function = function_of(value)
            if isinstance(function, FunctionType) and name not in _NOT_IN_STEPS and _is_own_function(function):
                yield f"{kind.__name__}.{name}", function


def is_own(kind: type) -> bool:
    """Whether a class may be the user's."""
    return is_users(kind) and not kind.__module__.startswith(("nbopt.", "numpy"))


def _is_own_function(function: FunctionType) -> bool:
    installed = function.__code__.co_filename.startswith(_LIBRARIES)
    return not installed and not str(function.__module__).startswith(("torch.", "nbopt."))


def data_parts(training: Training) -> list[Any]:
    """Return datasets, loaders and what these hold, each once."""
    found: dict[int, Any] = {}
    waiting: list[Any] = [training.cursor.source, training.val]
    while waiting:
        part = waiting.pop(0)
        if part is None or id(part) in found:
            continue
        found[id(part)] = part
        if isinstance(part, StreamSource):
            waiting.append(part.loader)
        waiting += [vars(part)[name] for name in _ATTRIBUTES if name in getattr(part, "__dict__", {})]
    return list(found.values())


def _called_by(function: FunctionType) -> list[tuple[str, FunctionType]]:
    """Return the user's functions that a function names."""
    values = [value for _name, value in outer_values(function)]
    return [
        (value.__qualname__, value) for value in values if isinstance(value, FunctionType) and _is_own_function(value)
    ]


def names_of(code: CodeType) -> list[str]:
    """Return all names that code and what is nested in it use."""
    names = list(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names += names_of(constant)
    return names


def _digest(code: CodeType) -> int:
    """Return a number that changes with what code does, not with where it stands."""
    names = " ".join((*code.co_names, *code.co_varnames, *code.co_freevars))
    digest = zlib.crc32(names.encode(errors="replace"), zlib.crc32(code.co_code))
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            digest = zlib.crc32(str(_digest(constant)).encode(), digest)
        elif is_constant(constant):
            text = repr(sorted(map(repr, constant))) if isinstance(constant, frozenset) else repr(constant)
            digest = zlib.crc32(text.encode(errors="replace"), digest)
    return digest
