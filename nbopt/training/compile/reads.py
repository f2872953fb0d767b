"""What a model's Python code reads that is no tensor of the model: machine code would go on with its first values.

Found in the bytecode of ``forward`` and of all that it calls, without running it. What cannot change (a number, a
function) is watched: it may be bound anew. What can change unseen (a dict, an array, a clock, a generator of random
numbers), and what the code itself changes, is an obstacle.
"""

from __future__ import annotations

import builtins
import dis
import enum
import functools
import inspect
from collections.abc import Mapping
from itertools import chain
from types import (
    BuiltinFunctionType,
    CellType,
    CodeType,
    FunctionType,
    MethodType,
    ModuleType,
)
from typing import Any

import numpy as np
import torch
from torch import nn

from nbopt.i18n import _
from nbopt.training.compile.values import (
    MISSING,
    PURE,
    contents,
    function_of,
    is_constant,
    is_pure,
    is_record,
    is_torchs,
    is_users,
    parts_of,
)
from nbopt.training.compile.watched import Watched

_BUILTINS = set(
    "abs all any bool bytes callable chr classmethod complex dict divmod enumerate filter float format frozenset"
    " getattr hasattr int isinstance issubclass iter len list map max min next object ord pow property range repr"
    " reversed round set slice sorted staticmethod str sum super tuple type zip Ellipsis NotImplemented".split()
)
_OWN_NAMES = frozenset(vars(nn.Module()))
_CONTAINERS = (nn.Module, nn.Sequential, nn.ModuleList, nn.ModuleDict)
_BEGINNING = ("forward", "__call__", "__getattr__", "__getattribute__")
_NOT_IN_STEPS = ("__init__", "__new__", "extra_repr", "reset_parameters", "__repr__", "__setstate__", "__getstate__")
_SHOWN = ("__repr__", "__str__")


class Reads:
    """What the code of a model's modules reads from outside.

    Parameters
    ----------
    model : torch.nn.Module

    Attributes
    ----------
    watched : Watched
        What may be bound anew.
    obstacle : str
        What steps that do not run the code would not follow, in words; "" if there is nothing.
    """

    def __init__(self, model: nn.Module) -> None:
        self.obstacle = ""
        self.watched = Watched()
        self._seen: set[object] = set()
        self._attributes = set(_BEGINNING)
        self._by_any_name = False  # whether attributes are got by names that are computed
        modules = list(model.modules())
        own = [module for module in modules if any(map(is_users, type(module).__mro__))]
        for number, module in enumerate(modules):
            self._look_at_callables(number, module, modules)
        done: set[str] = set()
        while names := (self._names_of(own) if self._by_any_name else self._attributes) - done:
            done |= names
            for module in own:
                for name in sorted(names):
                    self._look_up(module, name)
            for number, module in enumerate(modules):
                for name in sorted(names & vars(module).keys() - _OWN_NAMES):
                    if name in self._attributes or not is_torchs(type(module)):
                        self._judge_own(number, module, name, modules)
        del self._seen, self._attributes  # each of thousands of members has read

    # -- modules

    def _names_of(self, own: list[nn.Module]) -> set[str]:
        """Return the names of all attributes that steps may get."""
        names = {name for module in own for name in vars(module)}
        for kind in {kind for module in own for kind in type(module).__mro__ if is_users(kind)}:
            names |= {name for name in vars(kind) if not name.startswith("__") and name not in _NOT_IN_STEPS}
        return names | self._attributes

    def _look_at_callables(self, number: int, module: nn.Module, modules: list[nn.Module]) -> None:
        """Look at functions that a module of torch's was given, or that took the place of its own."""
        kind = type(module)
        if is_torchs(kind):
            if kind not in self._seen:
                self._seen.add(kind)
                self._watch(kind, vars(kind), "forward", vars(kind).get("forward", MISSING))
            for name, value in vars(module).items():
                if name not in _OWN_NAMES and callable(value) and not isinstance(value, type):
                    self._judge_own(number, module, name, modules)
            if not is_torchs(kind.forward):
                self._judge(kind.forward, f"{kind.__name__}.forward")
        for base in filter(is_users, kind.__mro__):
            if any(is_torchs(further) and further not in _CONTAINERS for further in base.__mro__):
                self._attributes.update(
                    name for name, value in vars(base).items() if inspect.isroutine(value) and name not in _NOT_IN_STEPS
                )

    def _look_up(self, module: nn.Module, name: str) -> None:
        """Look at what ``module.name`` may be by the module's class."""
        for kind in filter(is_users, type(module).__mro__):
            if name in vars(kind):
                self._judge_member(kind, name)
            else:
                self._watch(kind, vars(kind), name, MISSING)

    def _judge_own(self, number: int, module: nn.Module, name: str, modules: list[nn.Module]) -> None:
        value = vars(module)[name]
        if isinstance(value, MethodType) and any(value.__self__ is one for one in modules):
            value = value.__func__  # a copy of the model has a copy of it
        self.watched.held.append((number, name, type(value) if is_record(value) else value))
        label = _("{name} of {owner}", name=name, owner=type(module).__name__)
        if is_record(value):
            self._look_into(value, f"{number}.{name}", label)
        else:
            self._judge(value, label)

    def _look_into(self, record: Any, place: str, label: str) -> None:
        """Watch the fields of an object that a module holds, as a configuration; a copy of the model has another."""
        fields = vars(record)
        by_class = chain.from_iterable(map(vars, filter(is_users, type(record).__mro__)))
        for name in sorted({*fields, *(name for name in by_class if not name.startswith("__"))}):
            self._watch(place, fields, name, fields.get(name, MISSING))
            if name in fields:
                self._judge(fields[name], f"{label}.{name}")
        if is_users(type(record)):
            self._scan_class(type(record))

    # -- values

    def _watch(self, owner: object, space: Mapping[str, Any], name: str, value: Any) -> None:
        """Take note of what a name means."""
        key = owner if isinstance(owner, str) else id(owner), name
        if key not in self._seen:
            self._seen.add(key)
            self.watched.names.append((owner, space, name, value))

    def _judge(self, value: Any, label: str) -> None:
        """Take note if a value may change unseen, or runs code that may do anything."""
        if is_constant(value) or is_torchs(value):
            return
        if isinstance(value, (tuple, functools.partial)):
            for part in value if isinstance(value, tuple) else parts_of(value):
                self._judge(part, label)
        elif isinstance(value, (FunctionType, BuiltinFunctionType)) and is_pure(value):
            return
        elif isinstance(value, functools._lru_cache_wrapper):
            self._judge(value.__wrapped__, label)
        elif isinstance(value, FunctionType):
            self._scan(value)
        elif isinstance(value, type):
            self._scan_class(value)
        elif isinstance(value, MethodType) and isinstance(value.__self__, type):
            self._judge(value.__func__, label)
        elif isinstance(value, np.ufunc) or value is np.prod:
            return
        elif callable(value) and not isinstance(value, (nn.Module, MethodType)):
            kind = _("Python code that machine code would not run")
            self._refuse(_("forward calls {name}, {kind}", name=label, kind=kind))
        else:
            kind = type(value).__name__
            self._refuse(_("forward reads {name}, a Python object ({kind}) that may change", name=label, kind=kind))

    def _refuse(self, reason: str) -> None:
        self.obstacle = self.obstacle or reason

    def _scan_class(self, kind: type) -> None:
        """Look at all that a class holds, which may be asked of it, or of what is made of it."""
        if kind in self._seen or issubclass(kind, enum.Enum):
            return
        self._seen.add(kind)
        is_module, differentiates = issubclass(kind, nn.Module), issubclass(kind, torch.autograd.Function)
        for base in filter(is_users, kind.__mro__):
            for name, value in vars(base).items():
                if name.startswith("_") and "_fields" in vars(base):  # of a named tuple
                    continue
                special = name.startswith("__")
                if special and (is_module or not isinstance(function_of(value), FunctionType)):
                    continue
                if name not in (_NOT_IN_STEPS if is_module else _SHOWN):
                    makes = name in ("__init__", "__post_init__", "__new__")
                    self._judge_member(base, name, may_set=makes or differentiates)

    def _judge_member(self, kind: type, name: str, may_set: bool = False) -> None:
        """Look at what stands in a class under a name."""
        value = vars(kind)[name]
        self._watch(kind, vars(kind), name, value)
        function = function_of(value)
        if isinstance(function, FunctionType) and not is_pure(function) and not is_torchs(function):
            self._scan(function, may_set)
        elif not (inspect.isdatadescriptor(value) and not is_users(type(value))):  # slots and the like
            self._judge(function, f"{kind.__name__}.{name}")

    # -- code

    def _scan(self, function: FunctionType, may_set: bool = False) -> None:
        """Look at what a function reads, sets and calls."""
        if function in self._seen:
            return
        self._seen.add(function)
        code = function.__code__
        self.watched.functions.append((function, code, function.__defaults__))
        for name, value in vars(function).items():
            self._watch(function, vars(function), name, value)
            self._judge(value, f"{function.__qualname__}.{name}")
        for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self._judge(value, _("a default argument of {name}", name=function.__qualname__))
        cells = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
        self._scan_code(code, function, cells, may_set)

    def _scan_code(self, code: CodeType, function: FunctionType, cells: dict[str, CellType], may_set: bool) -> None:
        instructions = list(dis.get_instructions(code))
        for place, instruction in enumerate(instructions):
            operation, name = instruction.opname, instruction.argval
            if operation in ("LOAD_GLOBAL", "LOAD_NAME"):
                self._read_global(name, function, instructions[place + 1 :])
            elif operation in ("STORE_GLOBAL", "DELETE_GLOBAL"):
                self._refuse(_("forward sets {name}, a global of Python", name=name))
            elif operation in ("STORE_ATTR", "DELETE_ATTR") and not may_set:
                self._refuse(_("forward sets {name}, an attribute that Python code reads", name=name))
            elif "DEREF" in operation and name in cells and name != "__class__":
                if operation.startswith(("STORE", "DELETE")):
                    self._refuse(_("forward sets {name}, a variable of its closure", name=name))
                else:
                    self._read_cell(name, cells[name])
            elif operation == "IMPORT_NAME" and name.partition(".")[0] not in {"torch", *PURE}:
                self._refuse(_("forward imports {name}, Python code from outside the model", name=name))
            elif operation in ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR"):
                self._by_any_name = self._by_any_name or name in ("__dict__", "attrgetter", "methodcaller")
                self._attributes.add(name)
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                inner = {name: cells[name] for name in constant.co_freevars if name in cells}
                self._scan_code(constant, function, inner, may_set)

    def _read_cell(self, name: str, cell: CellType) -> None:
        value = contents(cell)
        self.watched.cells.append((cell, name, value))
        if value is not MISSING:
            self._judge(value, _("{name} of a closure", name=name))

    def _read_global(self, name: str, function: FunctionType, following: list[dis.Instruction]) -> None:
        space: Mapping[str, Any] = function.__globals__
        value = space.get(name, MISSING)
        self._watch(space, space, name, value)
        self._by_any_name = self._by_any_name or name in ("getattr", "hasattr")
        if value is MISSING:
            found = getattr(builtins, name, None)
            raised = isinstance(found, type) and issubclass(found, BaseException)
            if found is not None and name not in _BUILTINS and not raised:
                self._refuse(_("forward calls {name}, Python code that machine code would not run", name=name))
            return
        label = name
        for instruction in following:
            if not isinstance(value, ModuleType) or instruction.opname not in ("LOAD_ATTR", "LOAD_METHOD"):
                break
            if is_torchs(value):
                return
            label, space = f"{label}.{instruction.argval}", vars(value)
            value = getattr(value, instruction.argval, MISSING)
            self._watch(space, space, instruction.argval, space.get(instruction.argval, MISSING))
            if value is MISSING:
                return
        self._judge(value, _("{name}, a global", name=label) if label == name else label)
