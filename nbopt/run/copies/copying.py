"""Copies of a run's model, loss, forward and optimizer that have nothing in common with the originals but data.

`copy.deepcopy` fails on tensors that keep a graph and on locks, and it takes functions as they are: a lambda over one
of the model's layers, or a method of one of its tensors, would go on calling the original. These are made anew.
"""

from __future__ import annotations

import io
import threading
import warnings
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from copy import copy, deepcopy
from types import BuiltinFunctionType, CellType, FunctionType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from nbopt.i18n import _
from nbopt.objects.kinds import holds_attributes, is_constant, say_kind
from nbopt.objects.reaching import contents, hooks_on, parts_of, reach

_LOCKS = (type(threading.Lock()), type(threading.RLock()))
_DATA = (Dataset, DataLoader, Sampler)
_SPECIAL = (*_LOCKS, *_DATA, io.IOBase, Tensor, torch.jit.ScriptModule)
_MADE_ANEW = (OrderedDict, dict, set)
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
        self._roots = roots
        self._storages = {tensor.untyped_storage().data_ptr() for tensor in data}
        self._own = {id(v): v for _place, v in reach(roots, functions=False) if _is_content(v)}
        for optimizer in [value for value in self._own.values() if isinstance(value, torch.optim.Optimizer)]:
            # What steps keep up to date, as a mean of the weights; all else around a function is used by both.
            around = reach({"": [held for name, held in vars(optimizer).items() if name.endswith("_hooks")]})
            self._own.update({id(value): value for _place, value in around if isinstance(value, (nn.Module, Tensor))})
        weights = [value for value in self._own.values() if isinstance(value, nn.Parameter)]
        self._weights = {weight.untyped_storage().data_ptr(): weight for weight in weights if weight.numel()}
        everything = list(reach(roots))
        special = [(place, value) for place, value in everything if isinstance(value, _SPECIAL) or _is_ours(value)]
        self._special = special
        self._loose = [value for _place, value in everything if self._is_loose(value)]
        self._bound = [value for _place, value in everything if isinstance(value, BuiltinFunctionType)]
        modules = [value for value in self._own.values() if isinstance(value, nn.Module)]
        self._plain = [held for module in modules for held in vars(module).values() if type(held) in _MADE_ANEW]
        self._hooked: list[Any] = [weight for weight in weights if hooks_on(weight)]
        self._hooked += [value for value in self._own.values() if isinstance(value, torch.optim.Optimizer)]
        self._begin()

    def _begin(self) -> None:
        """Enter what copies take as it is, and functions that lead to the originals."""
        self.shared: list[str] = []
        self._views: list[tuple[Tensor, Tensor]] = []
        # A module has twelve of these, for hooks above all; deepcopy takes as long for one as for a weight.
        self._memo: dict[int, Any] = {id(held): type(held)() for held in self._plain if not held}
        for place, value in self._special:
            self._seed(place, value)
        # First all that deepcopy would take as it is, then what these need: copies of that hold the others.
        self._begun = [(value, self._begin_function(value)) for value in self._loose]
        self._methods = self._bound
        self._seeds = dict(self._memo)

    def another(self) -> Copies:
        """Return further copies, of the same originals as they are: they are not walked through again."""
        made = copy(self)
        made._begin()
        return made

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
        for value in self._hooked:
            made = self._memo.get(id(value), value)
            if made is value:
                continue
            if isinstance(value, torch.optim.Optimizer):
                for name, held in vars(value).items():
                    if name.endswith("_hooks"):
                        vars(made)[name].update({key: self._copy(hook) for key, hook in held.items()})
            elif isinstance(made, nn.Parameter):
                for way, hook in hooks_on(value):
                    getattr(made, way)(self._copy(hook))

    def _seed(self, place: str, value: Any) -> None:
        """Enter what is not to be copied as `copy.deepcopy` would."""
        memo = self._memo
        if isinstance(value, _LOCKS):
            memo[id(value)] = threading.Lock() if isinstance(value, _LOCKS[0]) else threading.RLock()
        elif isinstance(value, _DATA) or _is_ours(value):
            memo[id(value)] = value
        elif isinstance(value, io.IOBase) and not value.closed and value.writable() and not value.readable():
            memo[id(value)] = value  # what is written to it, as a log, changes no training
            self.shared.append(place)
        elif isinstance(value, Tensor) and value.layout is torch.strided and not value.is_meta:
            if value.untyped_storage().data_ptr() in self._storages and not value.requires_grad:
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

    def _begin_function(self, value: FunctionType) -> FunctionType:
        """Enter a function like ``value`` that lacks its surroundings."""
        cells = tuple(self._memo.setdefault(id(cell), CellType()) for cell in value.__closure__ or ())
        made = FunctionType(value.__code__, value.__globals__, value.__name__, None, cells)
        made.__qualname__, made.__module__, made.__doc__ = value.__qualname__, value.__module__, value.__doc__
        self._memo[id(value)] = made
        return made

    def _fill(self, value: FunctionType, made: FunctionType) -> None:
        for cell, new in zip(value.__closure__ or (), made.__closure__ or (), strict=True):
            if not contents((new,)):
                for content in contents((cell,)):
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


def _is_ours(value: Any) -> bool:
    return type(value).__module__.startswith("nbopt.") and not isinstance(value, nn.Module)


def _is_content(value: Any) -> bool:
    return isinstance(value, _CONTENTS) or (holds_attributes(value) and not is_constant(value))
