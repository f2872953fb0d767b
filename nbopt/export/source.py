"""The source of what a user gave a run: functions and classes written out, what packages offer imported."""

from __future__ import annotations

import argparse
import ast
import builtins
import functools
import keyword
import math
import re
import sys
from collections.abc import Iterable, Mapping, Set
from pathlib import PurePath
from types import FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from nbopt.export.script.text import break_long
from nbopt.export.source_text import bindings_of, names_read, renamed, scopes_of, text_of, without_annotations
from nbopt.export.source_values import array_text, settings_of, tensor_text, written
from nbopt.export.source_values import literal as literal
from nbopt.i18n import _

_HOMES = (torch, functional, math, np, torch.utils.data)  # of functions that do not say where they are from


def sort_imports(lines: Iterable[str]) -> str:
    """Return import statements as they are customarily laid out: Python's own library first, one line a module."""
    plain: dict[bool, list[str]] = {True: [], False: []}
    names: dict[bool, dict[str, list[str]]] = {True: {}, False: {}}
    for line in dict.fromkeys(lines):
        kind, module, *rest = line.split(" ", 3)
        own = module.partition(".")[0] in sys.stdlib_module_names
        if kind == "import":
            plain[own].append(line)
        else:
            names[own].setdefault(module, []).append(rest[-1])
    sections = [
        sorted(plain[own])
        + [f"from {module} import {', '.join(sorted(names[own][module]))}" for module in sorted(names[own])]
        for own in (True, False)
    ]
    return "\n\n".join("\n".join(section) for section in sections if section)


class Sources:
    """Collects what a script needs of the user's own code.

    Parameters
    ----------
    reserved : set of str
        Names that the script defines itself.
    shared : dict of str to object
        What the script knows how to import.
    hidden : set of str
        Variables of the script's functions, which nothing that they call may be called.

    Attributes
    ----------
    used : set of str
        Those of ``shared`` that the user's code needs.
    imports : list of str
        Lines.
    definitions : list of str
        Functions and classes, and the constants they use.
    called : set of str
        Names that the script's own functions call.
    arguments : dict of str to str
        What a script cannot hold and takes as an argument, each with the reason.
    """

    def __init__(self, reserved: set[str], shared: Mapping[str, object], hidden: Set[str] = frozenset()) -> None:
        self.used: set[str] = set()
        self.imports: list[str] = []
        self.definitions: list[str] = []
        self.called: set[str] = set()
        self.arguments: dict[str, str] = {}
        self._reserved = reserved
        self._shared = shared
        self._hidden = hidden
        self._known: dict[str, object] = {}

    def name_of(self, item: Any, name: str = "", called: bool = False) -> str:
        """Return an expression for ``item``: the name of a function or class, or a call that makes an object.

        Parameters
        ----------
        item : object
        name : str
            For a function that has none.
        called : bool
            Whether the script's own functions call it.

        Raises
        ------
        ValueError
            If it uses something that cannot be written out.
        """
        before = (self.used.copy(), self.imports[:], self.definitions[:], dict(self._known))
        own = getattr(item, "__name__", "")
        try:
            if called and own in self._hidden and self._shared.get(own) is not item:
                return self._include(f"own_{own}", item)
            return self._value(item, name)
        except ValueError:
            self.used, self.imports, self.definitions, self._known = before
            raise

    def name_for(self, role: str, item: Any, argument: str = "") -> str:
        """Return the same for what the script cannot do without.

        What cannot be written out becomes an ``argument`` of the script's ``train``; without one, an error names its
        ``role``.
        """
        try:
            name = self.name_of(item, f"own_{argument}", called=True)
        except ValueError as error:
            if not argument:
                raise ValueError(_("{role} cannot be exported: {error}", role=role, error=error)) from error
            self.arguments[argument] = str(error)
            return argument
        if not name.isidentifier() and argument:
            constant = argument.upper()  # reserved
            self.definitions.append(f"{constant} = {name}")
            self._known[constant] = name
            name = constant
        self.called.add(name)
        return name

    def argument(self, name: str, other: str, reason: str) -> str:
        """Let ``train`` take an argument: ``name``, or ``other`` if something else is called so; return which."""
        taken = name in self._hidden or name in self.arguments or self._free(name) != name
        chosen = other if taken else name
        self.arguments[chosen] = reason
        return chosen

    def hiding(self, script: str) -> set[str]:
        """Return what the script calls, or takes as an argument, and a function of it has as a variable."""
        found: set[str] = set()
        for scope in scopes_of(script)[1:]:
            symbols = [symbol for symbol in scope.get_symbols() if scope.get_type() == "function" and symbol.is_local()]
            names = {symbol.get_name() for symbol in symbols}
            made = {symbol.get_name() for symbol in symbols if symbol.is_assigned()}
            found |= self.called & names - self.arguments.keys()
            found |= {name for name in self.arguments.keys() & made if not name.startswith("loss")}
        return found

    def include_used(self, text: str, known: Mapping[str, Any], who: str) -> dict[str, str]:
        """Make all that a statement uses stand in the script; return the names that are others there.

        Parameters
        ----------
        text : str
        known : mapping
            What names mean where it was written.
        who : str
            Whose statement it is, for errors.

        Raises
        ------
        ValueError
            If something cannot be written out.
        """
        others = {}
        for name in names_read(text):
            if name in known:
                try:
                    found = self._include(name, known[name])
                except ValueError as error:
                    raise ValueError(_("{who} uses {name}: {error}", who=who, name=name, error=error)) from error
                if found != name:
                    others[name] = found
            elif not hasattr(builtins, name):
                raise ValueError(_("{who} uses {name}, which is not there.", who=who, name=name))
        return others

    def _include(self, name: str, item: Any) -> str:
        """Make a name stand for ``item`` in the script: ``name``, if nothing else is called so; return it."""
        for known, other in self._known.items():
            if other is item and (known == name or re.fullmatch(rf"own_{re.escape(name)}(_\d+)?", known)):
                return known
        if self._shared.get(name) is item:
            self.used.add(name)
            return name
        return self.hold(self._free(name), item)

    def hold(self, name: str, item: Any) -> str:
        """Let the script import something, or hold it as it is written, as ``name``; return that."""
        if isinstance(item, ModuleType):
            parent, _dot, last = item.__name__.rpartition(".")
            line = f"from {parent} import {last}" if parent and last == name else f"import {item.__name__}"
            self._import(line + (f" as {name}" if name not in (item.__name__, last) else ""), name, item)
        elif (home := _home(item)) is not None:
            own = item.__name__
            line = f"from {home} import {own}" + (f" as {name}" if name != own else "")
            self._import(line, name, item)
        elif isinstance(item, (FunctionType, type)):
            self.define(name, item)
        else:
            text = self._value(item, name)
            self.definitions.append(f"{name} = {text}")
            self._known[name] = item
        return name

    def _free(self, name: str) -> str:
        """Return a name that nothing in the script has: ``name`` if possible."""
        taken = {*self._known, *self._reserved, *self._shared}
        names = [name, f"own_{name}", *(f"own_{name}_{k}" for k in range(2, 99))]
        return next(item for item in names if item not in taken)

    def _import(self, line: str, name: str, item: object) -> None:
        if line.split(" ")[1].partition(".")[0] == "nbopt":
            raise ValueError(_("{name} is a part of nbopt.", name=name))
        self.imports.append(line)
        self._known[name] = item

    def define(self, name: str, item: FunctionType | type) -> None:
        """Let the script hold a function or class, and what it uses."""
        text = text_of(item, name)
        if item.__module__.partition(".")[0] == "nbopt":
            text = break_long(without_annotations(text))
        made = getattr(item, "__name__", name)
        tree = ast.parse(text).body[0]
        assert isinstance(tree, (ast.FunctionDef, ast.ClassDef))
        self._known[name] = item
        others = self.include_used(text, bindings_of(item), made)
        if tree.name != name:
            others[tree.name] = name
        self.definitions.append(renamed(text, others))

    def _value(self, value: Any, name: str = "") -> str:
        """Return a value as source; what it is made of stands in the script before."""
        return written(value, functools.partial(self._other, name=name))

    def _other(self, value: Any, name: str = "") -> str:
        if type(value) is float:
            return f'float("{value}")'
        if isinstance(value, torch.device):
            return f'torch.device("{value}")'
        if isinstance(value, torch.dtype):
            return str(value)
        if type(value) is Tensor:
            return tensor_text(value)
        if isinstance(value, (np.ndarray, np.generic)):
            self.used.add("np")
            return array_text(value)
        if isinstance(value, (range, slice, torch.Size)):
            return repr(value)
        if isinstance(value, MethodType):
            return f"{self._value(value.__self__)}.{value.__name__}"
        if isinstance(value, functools.partial):
            settings = {f"{key}=": item for key, item in value.keywords.items()}
            return self._call(self._include("partial", functools.partial), {"": value.func}, value.args, settings)
        if isinstance(value, (ModuleType, FunctionType, type)) or _home(value) is not None:
            own = getattr(value, "__name__", "")
            return self._include(own if own.isidentifier() else name or "function", value)
        if isinstance(value, (argparse.Namespace, SimpleNamespace)):
            settings = {f"{key}=": item for key, item in vars(value).items()}
            return self._call(self._include(type(value).__name__, type(value)), {}, (), settings)
        if hasattr(value, "__dict__"):
            return self._construction(value)
        raise ValueError(_("{kind} is not written as source.", kind=type(value).__name__))

    def _construction(self, item: Any) -> str:
        """Return the call that makes an object like ``item``."""
        kind = type(item)
        if kind.__module__.partition(".")[0] == "nbopt":
            raise ValueError(_("{name} is a part of nbopt.", name=kind.__name__))
        settings = {f"{key}=": value for key, value in settings_of(item).items()}
        if getattr(nn, kind.__name__, None) is kind:
            self.used.add("nn")
            return self._call(f"nn.{kind.__name__}", {}, (), settings)
        return self._call(self._include(kind.__name__, kind), {}, (), settings)

    def _call(self, function: str, first: Mapping[str, Any], others: Iterable[Any], settings: Mapping[str, Any]) -> str:
        given = [*first.values(), *others]
        texts = [self._value(item) for item in given] + [key + self._value(item) for key, item in settings.items()]
        return f"{function}({', '.join(texts)})"


def _home(item: Any) -> str | None:
    """Return the module of Python's library or of an installed package that offers ``item`` under its name."""
    name = getattr(item, "__name__", None)
    if not isinstance(name, str) or not callable(item) or keyword.iskeyword(name):
        return None
    module = getattr(item, "__module__", None)
    found = sys.modules.get(module) if isinstance(module, str) else None
    top, offers = str(module).partition(".")[0], getattr(found, name, None) is item
    if offers and top in sys.stdlib_module_names:
        return module
    for home in _HOMES:
        if getattr(home, name, None) is item:
            return home.__name__
    installed = {"site-packages", "dist-packages"} & set(PurePath(getattr(found, "__file__", None) or "").parts)
    return module if offers and installed and top != "nbopt" else None
