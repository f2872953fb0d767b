"""Which generators of random numbers the user's objects and their code may draw from.

Found without running anything: in the attributes of objects, and in what the code of functions and methods refers to.
The search errs on the side of finding too much. Where there is more code than it looks at, the generators of Python and
numpy are taken to be among them.
"""

from __future__ import annotations

import dis
import functools
import random
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import RandomSampler, SequentialSampler

from nbopt.data.generators import KINDS, NUMPYS, PYTHONS

_MOST = 500  # functions that are looked at
_ITEMS = 100  # of a list, as of samples
_CALM = {*sys.stdlib_module_names, "numpy", "torch", "nbopt"} - {"__main__"}  # whose code draws from torch's, if at all
_PLAIN = (type(None), bool, int, float, complex, str, bytes, Tensor, np.ndarray, np.generic, torch.dtype, torch.device)
_MODULES_OWN = frozenset(vars(nn.Module())) - {"_modules", "_forward_hooks", "_forward_pre_hooks"}


class Reached(NamedTuple):
    """What was found.

    Attributes
    ----------
    own : list
        Generators of the user's, in the order in which they are found: the same for a copy of the objects.
    shared : list
        Of the generators that Python's `random` and `numpy.random` draw from, those that may be drawn from.
    compiled : bool
        Whether a part is compiled by `torch.compile`.
    """

    own: list[Any]
    shared: list[Any]
    compiled: bool


def find_generators(*roots: Any) -> Reached:
    """Look at what objects hold and at all code that they may call.

    Examples
    --------
    >>> find_generators({"rng": np.random.default_rng(0), "draw": np.random.rand})
    Reached(own=[Generator(PCG64) at ...], shared=[RandomState(MT19937) at ...], compiled=False)
    """
    return _Search(roots).found


class _Search:
    def __init__(self, roots: Iterable[Any]) -> None:
        self.found = Reached([], [], False)
        self._seen: dict[int, Any] = {}  # holds what was seen, so that no number is given anew
        self._functions = 0
        self._waiting = deque(roots)
        while self._waiting:
            value = self._waiting.popleft()
            if not isinstance(value, _PLAIN) and id(value) not in self._seen:
                self._seen[id(value)] = value
                self._waiting.extend(self._look_at(value))
            if self._functions > _MOST:
                self._share(PYTHONS)
                self._share(NUMPYS)
                return

    def _share(self, generator: Any) -> None:
        if not any(known is generator for known in self.found.shared):
            self.found.shared.append(generator)

    def _look_at(self, value: Any) -> Iterator[Any]:
        """Take note of a generator; yield what a value leads to."""
        if value is PYTHONS or value is NUMPYS:
            self._share(value)
        elif isinstance(value, KINDS):
            if value is not torch.default_generator and not isinstance(value, random.SystemRandom):
                self.found.own.append(value)
        elif isinstance(value, FunctionType):
            yield from self._look_at_function(value)
        elif isinstance(value, (MethodType, BuiltinFunctionType)):
            yield value.__self__ if not isinstance(value.__self__, ModuleType) else None
            yield getattr(value, "__func__", None)
        elif isinstance(value, functools.partial):
            yield from (value.func, *value.args, *value.keywords.values())
        elif isinstance(value, (list, tuple, set, frozenset, deque)):
            yield from (item for item, _number in zip(value, range(_ITEMS), strict=False))
        elif isinstance(value, Mapping):
            yield from (item for item, _number in zip(value.values(), range(_ITEMS), strict=False))
        elif isinstance(value, type):
            yield from _members(value)
        elif isinstance(value, ModuleType):
            yield _owner(value)
        elif type(value) in (RandomSampler, SequentialSampler):  # of its samples, it asks how many there are
            yield getattr(value, "generator", None)
        else:
            yield type(value)
            yield from self._attributes(value)

    def _attributes(self, value: Any) -> Iterator[Any]:
        if any(_ask(value, name) is not None for name in ("_torchdynamo_orig_callable", "_compiled_call_impl")):
            self.found = self.found._replace(compiled=True)
        held = _ask(value, "__dict__", {})
        if isinstance(value, nn.Module):
            yield from (item for name, item in held.items() if name not in _MODULES_OWN)
        else:
            yield from held.values()
        for kind in type(value).__mro__:
            names = vars(kind).get("__slots__", ())
            yield from (_ask(value, name) for name in ((names,) if isinstance(names, str) else names))

    def _look_at_function(self, function: FunctionType) -> Iterator[Any]:
        if hasattr(function, "_torchdynamo_orig_callable"):
            self.found = self.found._replace(compiled=True)
            yield function._torchdynamo_orig_callable
            return
        yield from vars(function).values()
        yield from function.__defaults__ or ()
        yield from (function.__kwdefaults__ or {}).values()
        for cell in function.__closure__ or ():
            try:
                yield cell.cell_contents
            except ValueError:  # nothing in it yet
                continue
        if _is_calm(function):
            return
        self._functions += 1
        yield from _read(function.__code__, function.__globals__)


def _ask(value: Any, name: str, instead: Any = None) -> Any:
    """Return an attribute; ``instead`` where there is none, or where the user's object raises whatever it does."""
    try:
        return getattr(value, name, instead)
    except Exception:  # as that of Ray's client does while it is not connected
        return instead


def _read(code: CodeType, space: Mapping[str, Any]) -> Iterator[Any]:
    """Yield what code gets by its globals and by what it imports."""
    instructions = [(each.opname, each.argval) for each in dis.get_instructions(code)]
    for place, (operation, name) in enumerate(instructions):
        if operation in ("LOAD_GLOBAL", "LOAD_NAME"):
            value = space.get(name)
            for following, attribute in instructions[place + 1 :]:
                if not isinstance(value, ModuleType) or following not in ("LOAD_ATTR", "LOAD_METHOD"):
                    break
                value = _get(value, attribute)
            yield _owner(value)
        elif operation == "IMPORT_NAME":
            module = sys.modules.get(name)
            yield from (_get(module, attribute) for attribute in ("random", *code.co_names))
            yield _owner(module)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _read(constant, space)


def _get(module: ModuleType | None, name: str) -> Any:
    """Return what a module holds under a name; the generator of `numpy.random` for its functions, methods or not."""
    value = _ask(module, name)
    if module is np.random and not isinstance(value, type) and name not in ("default_rng", "mtrand"):
        return NUMPYS
    return None if module is not np and module is not random and module is not None and _is_calm(module) else value


def _owner(value: Any) -> Any:
    """Return the generator that stands behind a module, where there is one."""
    return PYTHONS if value is random else NUMPYS if value is np.random else value


def _members(kind: type) -> Iterator[Any]:
    """Yield the functions of a class and of those that it inherits from."""
    for base in kind.__mro__:
        if not _is_calm(base):
            for value in vars(base).values():
                if isinstance(value, property):
                    yield from (value.fget, value.fset)
                else:
                    yield getattr(value, "__func__", getattr(value, "func", value))


def _is_calm(value: Any) -> bool:
    name = value.__name__ if isinstance(value, ModuleType) else _ask(value, "__module__")
    return isinstance(name, str) and name.partition(".")[0] in _CALM
