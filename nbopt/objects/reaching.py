"""What objects lead to: by their attributes, by what containers hold, and by what functions are made of."""

from __future__ import annotations

import builtins
import dis
import functools
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn

from nbopt.objects.kinds import attributes_of, holds_attributes, is_constant

_ATOMS = (type(None), bool, int, float, complex, str, bytes, type)


def reach(roots: Mapping[str, Any], functions: bool = True) -> Iterator[tuple[str, Any]]:
    """Yield what ``roots`` lead to by attributes and containers, and by what functions are made of, each once."""
    waiting, seen = list(roots.items()), set()
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, _ATOMS) or id(value) in seen or (isinstance(value, FunctionType) and not functions):
            continue
        seen.add(id(value))
        yield place, value
        waiting += [(f"{place}{name}", part) for name, part in parts_of(value)]


def parts_of(value: Any) -> list[tuple[str, Any]]:
    """Return what a value holds, each with the way to it."""
    if isinstance(value, dict):
        return [(f"[{key!r:.40}]", part) for pair in value.items() for key, part in ((pair[0], pair[0]), pair)]
    if isinstance(value, (list, tuple, set, frozenset, deque)):
        return [(f"[{index}]", part) for index, part in enumerate(value)]
    if isinstance(value, FunctionType):
        found = [*contents(value.__closure__ or ()), *_defaults(value), *vars(value).values()]
        return [(f".{value.__name__}", part) for part in found]
    if isinstance(value, functools.partial):
        return [("", value.func), ("", value.args), ("", value.keywords)]
    if isinstance(value, (MethodType, BuiltinFunctionType)):
        return [("", value.__self__)]
    if isinstance(value, nn.Parameter):
        return [(".hook", hook) for _way, hook in hooks_on(value)]
    if isinstance(value, torch.jit.ScriptModule):
        return []
    if isinstance(value, nn.Module):
        named = (value._parameters, value._buffers, value._modules)
        own = {name: part for name, part in vars(value).items() if not any(part is held for held in named)}
        return [(f".{name}", part) for held in (*named, own) for name, part in held.items()]
    inside = type(value).__module__ in ("threading", "queue") or isinstance(value, torch.optim.Optimizer)
    if inside or (holds_attributes(value) and not is_constant(value)):
        return [(f".{name}", part) for name, part in attributes_of(value).items()]
    return []


def hooks_on(weight: Tensor) -> list[tuple[str, Callable[..., Any]]]:
    """Return what is called with a weight's gradient, each with the name of the method that has it called."""
    found = {"register_hook": "_backward_hooks", "register_post_accumulate_grad_hook": "_post_accumulate_grad_hooks"}
    return [(way, hook) for way, held in found.items() for hook in (getattr(weight, held, None) or {}).values()]


def contents(cells: tuple[CellType, ...]) -> list[Any]:
    """Return what cells of functions hold."""
    found = []
    for cell in cells:
        try:
            found.append(cell.cell_contents)
        except ValueError:  # nothing in it yet
            continue
    return found


def _defaults(value: FunctionType) -> list[Any]:
    return [*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]


def outer_values(function: FunctionType) -> list[tuple[str, Any]]:
    """Return what a function reads from around it, by name; None for what it imports itself."""
    code = function.__code__
    names = _outer_names(code)
    found = [(name, function.__globals__.get(name, getattr(builtins, name, None))) for name in sorted(names)]
    cells = zip(code.co_freevars, function.__closure__ or (), strict=True)
    return [*found, *((name, value) for name, cell in cells for value in contents((cell,)))]


@functools.lru_cache(1024)
def _outer_names(code: CodeType) -> frozenset[str]:
    operations = ("LOAD_GLOBAL", "LOAD_NAME", "IMPORT_NAME")
    names = {step.argval for step in dis.get_instructions(code) if step.opname in operations}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= _outer_names(constant)
    return frozenset(names)
