"""Copies of a run's model, loss, forward and optimizer that have nothing in common with the originals but data.

`copy.deepcopy` fails on tensors that keep a graph and on locks, and it takes functions as they are: a lambda over one
of the model's layers, or a method of one of its tensors, would go on calling the original. These are made anew.
"""

from __future__ import annotations

import functools
import io
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from types import BuiltinFunctionType, CellType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from nbopt.i18n import _
from nbopt.objects.kinds import attributes_of, holds_attributes, is_constant, say_kind

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
        self._views: list[tuple[Tensor, Tensor]] = []
        self._memo: dict[int, Any] = {}
        self._roots = roots
        storages = {tensor.untyped_storage().data_ptr() for tensor in data}
        self._own = {id(v): v for _place, v in reach(roots, functions=False) if _is_content(v)}
        for optimizer in [value for value in self._own.values() if isinstance(value, torch.optim.Optimizer)]:
            # What steps keep up to date, as a mean of the weights; all else around a function is used by both.
            around = reach({"": [held for name, held in vars(optimizer).items() if name.endswith("_hooks")]})
            self._own.update({id(value): value for _place, value in around if isinstance(value, nn.Module)})
        weights = [value for value in self._own.values() if isinstance(value, nn.Parameter)]
        self._weights = {weight.untyped_storage().data_ptr(): weight for weight in weights if weight.numel()}
        everything = list(reach(roots))
        for place, value in everything:
            self._seed(place, value, storages)
        # First all that deepcopy would take as it is, then what these need: copies of that hold the others.
        self._begun = [(value, self._begin(value)) for _place, value in everything if self._is_loose(value)]
        self._methods = [value for _place, value in everything if isinstance(value, BuiltinFunctionType)]
        self._seeds = dict(self._memo)

    def of(self, name: str, how: Callable[[Any, dict[int, Any]], Any] = deepcopy) -> Any:
        """Return the copy of a root, made by ``how(original, memo)``.

        Raises
        ------
        TypeError
            If it holds what cannot be copied; names it.
        """
        original = self._roots[name]
        try:
            self._tie()
            return self._memo[id(original)] if id(original) in self._memo else how(original, self._memo)
        except Exception as error:  # whatever an object of the user's raises
            place, culprit = self._blame(name, original)
            rule = _("keep it outside the model, or give its class a __deepcopy__")
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

    def hook(self) -> None:
        """Have what is called with gradients, or after an optimizer's steps, act on the copies, once these are made."""
        for weight in (value for value in self._own.values() if isinstance(value, nn.Parameter)):
            made = self._memo.get(id(weight))
            if isinstance(made, nn.Parameter) and made is not weight:
                for way, hook in hooks_of(weight):
                    getattr(made, way)(self._copy(hook))
        for optimizer in (value for value in self._own.values() if isinstance(value, torch.optim.Optimizer)):
            made = self._memo.get(id(optimizer), optimizer)
            for name, held in vars(optimizer).items():
                if made is not optimizer and name.endswith("_hooks"):
                    vars(made)[name].update({key: self._copy(hook) for key, hook in held.items()})

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
            elif (weight := self._weights.get(value.untyped_storage().data_ptr())) is not None:
                if weight is not value:
                    self._views.append((value, weight))
            elif not value.is_leaf:
                memo[id(value)] = value.detach().clone()
        elif isinstance(value, torch.jit.ScriptModule):
            memo[id(value)] = made = _copy_scripted(value)
            named = zip((*value.parameters(), *value.buffers()), (*made.parameters(), *made.buffers()), strict=True)
            memo.update({id(one): other for one, other in named})

    # -- functions

    def _is_loose(self, value: Any) -> bool:
        """Whether ``value`` is a function that leads to the originals."""
        return (
            isinstance(value, FunctionType)
            and not str(value.__module__).startswith("torch.")
            and any(id(found) in self._own for _place, found in reach({"": value}))
        )

    def _tie(self) -> None:
        """Give functions what they need."""
        begun, self._begun, methods, self._methods = self._begun, [], self._methods, []
        for view, weight in self._views:  # as a weight laid flat, through which it may get its gradient
            base = deepcopy(weight, self._memo)
            offset = view.storage_offset() - weight.storage_offset() + base.storage_offset()
            base = base if view.requires_grad else base.detach()
            self._memo[id(view)] = base.as_strided(view.shape, view.stride(), offset)
        for method in methods:
            if id(method.__self__) in self._own:
                self._memo[id(method)] = getattr(deepcopy(method.__self__, self._memo), method.__name__)
        for value, made in begun:
            self._fill(value, made)

    def _begin(self, value: FunctionType) -> FunctionType:
        """Enter a function like ``value`` that lacks its surroundings."""
        cells = tuple(self._memo.setdefault(id(cell), CellType()) for cell in value.__closure__ or ())
        made = FunctionType(value.__code__, value.__globals__, value.__name__, None, cells)
        made.__qualname__, made.__module__, made.__doc__ = value.__qualname__, value.__module__, value.__doc__
        self._memo[id(value)] = made
        return made

    def _fill(self, value: FunctionType, made: FunctionType) -> None:
        for cell, new in zip(value.__closure__ or (), made.__closure__ or (), strict=True):
            if not _contents((new,)):
                for content in _contents((cell,)):
                    new.cell_contents = self._copy(content)
        made.__defaults__ = self._copy(value.__defaults__)
        made.__kwdefaults__ = self._copy(value.__kwdefaults__)
        vars(made).update({name: self._copy(own) for name, own in vars(value).items()})

    def _copy(self, value: Any) -> Any:
        """Return a copy of what leads to the originals; all else around a function is used by both."""
        tied = any(id(found) in self._own for _place, found in reach({"": value}))
        return deepcopy(value, self._memo) if tied else value

    def _blame(self, place: str, value: Any) -> tuple[str, Any]:
        """Return the innermost part of ``value`` that cannot be copied."""
        for name, part in parts_of(value):
            try:
                deepcopy(part, dict(self._seeds))
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
    if isinstance(value, nn.Parameter):
        return [(".hook", hook) for _way, hook in hooks_of(value)]
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


def hooks_of(weight: Tensor) -> list[tuple[str, Callable[..., Any]]]:
    """Return what is called with a weight's gradient, each with the name of the method that has it called."""
    found = {"register_hook": "_backward_hooks", "register_post_accumulate_grad_hook": "_post_accumulate_grad_hooks"}
    return [(way, hook) for way, held in found.items() for hook in (getattr(weight, held, None) or {}).values()]


def _copy_scripted(module: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    """Return a copy of a scripted module; deepcopy makes one whose weights are no leaves."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(module, file)
        file.seek(0)
        made: torch.jit.ScriptModule = torch.jit.load(file)  # type: ignore[no-untyped-call]
    for one, other in zip(module.parameters(), made.parameters(), strict=True):
        other.requires_grad_(one.requires_grad)
    return made


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
