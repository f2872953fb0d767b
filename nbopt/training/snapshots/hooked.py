"""What hooks of the optimizer keep in tensors of their own, as a mean of the weights."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor

from nbopt.objects.reaching import outer_values, reach
from nbopt.techniques.optimizers.groups import hooks_of

_DEEP = 3  # functions of the user's that call each other


def find_hooked(
    optimizer: torch.optim.Optimizer | None, roots: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Look at what the hooks of an optimizer use that is not among ``roots``, and holds tensors.

    Returns
    -------
    held : dict of str to object
        What belongs to the hooks alone, by name.
    shared : dict of str to object
        Global variables, which hooks of a copy would use too; those that lead to ``roots`` are among them.
    left : list of str
        What no snapshot can hold: the whole of something with an optimizer in it.
    """
    held: dict[str, Any] = {}
    shared: dict[str, Any] = {}
    left: list[str] = []
    if not (hooks := hooks_of(optimizer)):
        return held, shared, left
    assert optimizer is not None
    own = {name: value for name, value in vars(optimizer).items() if not name.endswith("_hooks")}
    known = {id(value) for _place, value in reach({**roots, **own}, functions=False)} | {id(optimizer)}
    for name, value, is_global in _around(hooks):
        inside = [part for _place, part in reach({"": value}, functions=False)]
        tensors = [part for part in inside if isinstance(part, Tensor)]
        if is_global and (tensors or isinstance(value, torch.optim.Optimizer)):
            shared[name] = value
        if id(value) in known or all(id(tensor) in known for tensor in tensors):
            continue
        if not any(isinstance(part, torch.optim.Optimizer) for part in inside):
            held[name] = value
        elif not isinstance(value, torch.optim.Optimizer):  # one that is swapped in and out is held otherwise
            left.append(name)
    return held, shared, left


def _around(hooks: Iterable[Any], depth: int = 0) -> Iterator[tuple[str, Any, bool]]:
    """Yield what functions use from around them: a name, the value, and whether it is a global variable."""
    for hook in hooks:
        if isinstance(hook, functools.partial):
            yield from _around([hook.func, *hook.args, *hook.keywords.values()], depth)
        elif isinstance(hook, MethodType):
            yield type(hook.__self__).__name__, hook.__self__, False
            yield from _around([hook.__func__], depth)
        elif isinstance(hook, FunctionType):
            code = hook.__code__
            last = code.co_varnames[: code.co_argcount][-len(hook.__defaults__ or ()) :]
            given = [*zip(last, hook.__defaults__ or (), strict=False), *(hook.__kwdefaults__ or {}).items()]
            own = [(name, value, False) for name, value in given]
            own += [(name, value, name not in code.co_freevars) for name, value in outer_values(hook)]
            for name, value, is_global in own:
                if not isinstance(value, (FunctionType, MethodType, functools.partial)):
                    yield name, value, is_global
                elif depth < _DEEP:
                    yield from _around([value], depth + 1)
        else:
            yield type(hook).__name__, hook, False
