"""Copies of a run's model, loss, forward and optimizer that have nothing in common with the originals but data.

`copy.deepcopy` fails on tensors that keep a graph and on locks, and it takes functions as they are: a lambda over one
of the model's layers, or a method of one of its tensors, would go on calling the original. These are made anew.
"""

from __future__ import annotations

import functools
import io
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from types import BuiltinFunctionType, CellType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from nbopt.parts.kinds import attributes_of, holds_attributes, is_constant, say_kind
from nbopt.words import _

_LOCKS = (type(threading.Lock()), type(threading.RLock()))
_DATA = (Dataset, DataLoader, Sampler)
_ATOMS = (type(None), bool, int, float, complex, str, bytes, type)
_CONTENTS = (Tensor, nn.Module, torch.optim.Optimizer, list, dict, set, deque, np.ndarray)


class Copies:
    """Copies that belong together: what two of the originals share, their copies share.

    Parameters
    ----------
    roots : mapping of str to object
        All that is to be copied, by the names that words give them.
    data : sequence of Tensor
        The run's data, which copies use too.

    Attributes
    ----------
    shared : list of str
        What the copies use too, where the originals use it.
    """

    def __init__(self, roots: Mapping[str, Any], data: Sequence[Tensor] = ()) -> None:
        self.shared: list[str] = []
        self._memo: dict[int, Any] = {}
        self._roots = roots
        storages = {tensor.untyped_storage().data_ptr() for tensor in data}
        self._own = {id(v): v for _place, v in reach(roots, functions=False) if _is_content(v)}
        everything = list(reach(roots))
        for place, value in everything:
            self._seed(place, value, storages)
        for _place, value in everything:
            if isinstance(value, FunctionType):
                self._function(value)
            elif isinstance(value, BuiltinFunctionType) and id(value.__self__) in self._own:
                self._memo[id(value)] = getattr(self._copy(value.__self__), value.__name__)

    def of(self, name: str, how: Callable[[Any, dict[int, Any]], Any] = deepcopy) -> Any:
        """Return the copy of a root, made by ``how(original, memo)``.

        Raises
        ------
        TypeError
            If it holds what cannot be copied; names it.
        """
        original = self._roots[name]
        if id(original) in self._memo:
            return self._memo[id(original)]
        try:
            return how(original, self._memo)
        except Exception as error:  # whatever an object of the user's raises
            place, culprit = self._blame(name, original)
            rule = _("keep it outside of the model, or give its class __deepcopy__")
            raise TypeError(
                _(
                    "{place} is {what}, which cannot be copied ({error}), and a branch, a replay and find_lr train a "
                    "copy: {rule}.",
                    place=place,
                    what=say_kind(culprit),
                    error=error,
                    rule=rule,
                )
            ) from error

    def _seed(self, place: str, value: Any, storages: set[int]) -> None:
        """Enter what is not to be copied as `copy.deepcopy` would."""
        memo = self._memo
        ours = type(value).__module__.startswith("nbopt.") and not isinstance(value, nn.Module)
        if isinstance(value, _LOCKS):
            memo[id(value)] = threading.Lock() if isinstance(value, _LOCKS[0]) else threading.RLock()
        elif isinstance(value, _DATA) or ours:
            memo[id(value)] = value
        elif isinstance(value, io.IOBase) and not value.closed and value.writable() and not value.readable():
            memo[id(value)] = value  # what is written to it, as a log, changes no training
            self.shared.append(place)
        elif isinstance(value, Tensor) and value.layout is torch.strided and not value.is_meta:
            if value.untyped_storage().data_ptr() in storages and not value.requires_grad:
                memo[id(value)] = value
            elif not value.is_leaf:
                memo[id(value)] = value.detach().clone()

    # -- functions

    def _function(self, value: FunctionType) -> FunctionType:
        """Return a function tied to the copies if ``value`` is tied to the originals, else the same."""
        if id(value) in self._memo:
            found: FunctionType = self._memo[id(value)]
            return found
        cells = value.__closure__ or ()
        content = [*_contents(cells), *_defaults(value), *vars(value).values()]
        if str(value.__module__).startswith("torch.") or not any(map(self._is_tied, content)):
            return value
        fresh = tuple(self._cell(cell) for cell in cells)
        made = FunctionType(value.__code__, value.__globals__, value.__name__, None, fresh)
        self._memo[id(value)] = made  # first: what is in its cells may hold it
        made.__qualname__, made.__module__, made.__doc__ = value.__qualname__, value.__module__, value.__doc__
        for cell, new in zip(cells, fresh, strict=True):
            if new is not cell and not _contents((new,)):
                new.cell_contents = self._copy(cell.cell_contents)
        made.__defaults__ = self._copy(value.__defaults__)
        made.__kwdefaults__ = self._copy(value.__kwdefaults__)
        vars(made).update({name: self._copy(own) for name, own in vars(value).items()})
        return made

    def _cell(self, cell: CellType) -> CellType:
        """Return an empty cell for one that leads to the originals: the same for all functions that share it."""
        if id(cell) not in self._memo:
            content = _contents((cell,))
            self._memo[id(cell)] = CellType() if content and self._is_tied(content[0]) else cell
        found: CellType = self._memo[id(cell)]
        return found

    def _is_tied(self, value: Any) -> bool:
        return any(id(found) in self._own for _place, found in reach({"": value}))

    def _copy(self, value: Any) -> Any:
        return self._function(value) if isinstance(value, FunctionType) else deepcopy(value, self._memo)

    def _blame(self, place: str, value: Any) -> tuple[str, Any]:
        """Return the innermost part of ``value`` that cannot be copied."""
        for name, part in parts_of(value):
            try:
                deepcopy(part, dict(self._memo))
            except Exception:  # whatever an object of the user's raises
                return self._blame(f"{place}{name}", part)
        return place, value


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
        found = [*_contents(value.__closure__ or ()), *_defaults(value), *vars(value).values()]
        return [(f".{value.__name__}", part) for part in found]
    if isinstance(value, functools.partial):
        return [("", value.func), ("", value.args), ("", value.keywords)]
    if isinstance(value, (MethodType, BuiltinFunctionType)):
        return [("", value.__self__)]
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


def _is_content(value: Any) -> bool:
    return isinstance(value, _CONTENTS) or (holds_attributes(value) and not is_constant(value))


def _contents(cells: tuple[CellType, ...]) -> list[Any]:
    found = []
    for cell in cells:
        try:
            found.append(cell.cell_contents)
        except ValueError:  # nothing in it yet
            continue
    return found


def _defaults(value: FunctionType) -> list[Any]:
    return [*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
