"""The source of what a user gave a run: functions written out, what torch offers named."""

from __future__ import annotations

import ast
import builtins
import inspect
import json
import math
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from types import CodeType, FunctionType, ModuleType
from typing import Any

from torch import nn

from nbopt.words import _


def literal(value: Any) -> str:
    """Return ``value`` as Python source: a number, flag, text, None, or tuples, lists and dicts of them."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{literal(key)}: {literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (tuple, list)):
        inner = ", ".join(map(literal, value))
        if isinstance(value, list):
            return f"[{inner}]"
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, str):
        return json.dumps(value)
    if value is None or isinstance(value, (bool, int)) or (isinstance(value, float) and math.isfinite(value)):
        return repr(value)
    raise ValueError(_("{value!r} cannot be written as source.", value=value))


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
    shared : dict of str to module
        Modules that the script knows how to import.

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
    """

    def __init__(self, reserved: set[str], shared: Mapping[str, object]) -> None:
        self.used: set[str] = set()
        self.imports: list[str] = []
        self.definitions: list[str] = []
        self.called: set[str] = set()
        self._reserved = reserved
        self._shared = shared
        self._known: dict[str, object] = {}

    def name_of(self, item: Callable[..., Any]) -> str:
        """Return an expression for ``item``: a plain function, one of torch's, or a loss module of torch's.

        Raises
        ------
        ValueError
            If it is none of these, or uses something that cannot be written out.
        """
        before = (self.used.copy(), self.imports[:], self.definitions[:], dict(self._known))
        try:
            if isinstance(item, nn.Module):
                self.used.add("nn")
                return _construction(item)
            name = getattr(item, "__name__", type(item).__name__)
            self._include(name, item)
            return name
        except ValueError:
            self.used, self.imports, self.definitions, self._known = before
            raise

    def name_for(self, role: str, item: Callable[..., Any]) -> str:
        """Return the same for what the script cannot do without; an error names its ``role``."""
        try:
            name = self.name_of(item)
        except ValueError as error:
            rule = _("a script holds plain functions that use nothing but modules, numbers and other plain functions")
            raise ValueError(
                _("{role} cannot be exported: {error} {rule}.", role=role, error=error, rule=rule)
            ) from error
        self.called.add(name)
        return name

    def check(self, script: str) -> None:
        """Raise ValueError if a function of the script has a variable that hides what it calls."""
        functions = [item for item in compile(script, "script", "exec").co_consts if isinstance(item, CodeType)]
        for function in functions:
            for name in sorted(self.called & {*function.co_varnames, *function.co_cellvars}):
                raise _taken(name)

    def _include(self, name: str, item: Any) -> None:
        """Make ``name`` stand for ``item`` in the script."""
        if name in self._known and self._known[name] is item:
            return
        if self._shared.get(name) is item:
            self.used.add(name)
            return
        if name in self._known or name in self._reserved or name in self._shared:
            raise _taken(name)
        if isinstance(item, ModuleType):
            self._import(f"import {item.__name__}" + (f" as {name}" if name != item.__name__ else ""), name, item)
        elif _is_public(item):
            own = item.__name__
            line = f"from {item.__module__} import {own}" + (f" as {name}" if name != own else "")
            self._import(line, name, item)
        elif isinstance(item, (FunctionType, type)):
            self._define(name, item)
        else:
            self.definitions.append(f"{name} = {literal(item)}")
            self._known[name] = item

    def _import(self, line: str, name: str, item: object) -> None:
        if line.split(" ")[1].partition(".")[0] == "nbopt":
            raise ValueError(_("{name} is a part of nbopt.", name=name))
        self.imports.append(line)
        self._known[name] = item

    def _define(self, name: str, item: FunctionType | type) -> None:
        text, tree = _parse(item)
        if tree.name != name:
            raise ValueError(_("{name} is another name of {other}.", name=name, other=tree.name))
        if getattr(item, "__closure__", None) or hasattr(item, "__wrapped__"):
            raise ValueError(_("{name} uses values of the function it was made in.", name=name))
        self._known[name] = item
        self.include_used(name, tree, vars(sys.modules[item.__module__]))
        self.definitions.append(text)

    def include_used(self, name: str, tree: ast.FunctionDef | ast.ClassDef, known: Mapping[str, Any]) -> None:
        """Make all that the function ``tree`` of ``name`` uses stand in the script.

        Parameters
        ----------
        known : mapping
            What names mean where the function was written.

        Raises
        ------
        ValueError
            If something cannot be written out.
        """
        for used in _names_used(tree):
            if used in known:
                self._include(used, known[used])
            elif not hasattr(builtins, used):
                raise ValueError(_("{name} uses {used}, which is not there.", name=name, used=used))


def _taken(name: str) -> ValueError:
    return ValueError(_("the script already has a {name!r}: rename yours.", name=name))


def _is_public(item: object) -> bool:
    """Whether ``item`` is a class or function that Python's library or an installed package offers under its name."""
    name, module = getattr(item, "__name__", None), getattr(item, "__module__", None)
    if not isinstance(name, str) or not isinstance(module, str):
        return False
    top = module.partition(".")[0]
    known = top in sys.stdlib_module_names or top in ("torch", "numpy", "sklearn", "scipy")
    return known and top != "__main__" and getattr(sys.modules.get(module), name, None) is item


def _parse(item: FunctionType | type) -> tuple[str, ast.FunctionDef | ast.ClassDef]:
    tree: ast.stmt | None = None
    with suppress(OSError, TypeError, SyntaxError):  # no source, or not that of a statement
        text = textwrap.dedent(inspect.getsource(item)).strip()
        tree = ast.parse(text).body[0]
    if not isinstance(tree, (ast.FunctionDef, ast.ClassDef)):
        raise ValueError(_("{name} is not written as a plain function or class.", name=item.__name__))
    return text, tree


def _names_used(tree: ast.FunctionDef | ast.ClassDef) -> list[str]:
    """Return the names that a function reads but does not make itself."""
    made = {tree.name}
    used: dict[str, None] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Load):
                used[node.id] = None
            else:
                made.add(node.id)
        elif isinstance(node, ast.arg):
            made.add(node.arg)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            made.update((alias.asname or alias.name).partition(".")[0] for alias in node.names)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            made.add(node.name)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            made.add(node.name)
    return [name for name in used if name not in made]


def _construction(module: nn.Module) -> str:
    """Return the call that makes a loss module of torch's."""
    kind = type(module)
    if kind.__module__ != "torch.nn.modules.loss":
        raise ValueError(_("{name} is a module of your own.", name=kind.__name__))
    given = []
    for name, parameter in list(inspect.signature(kind).parameters.items()):
        if name in ("size_average", "reduce"):  # deprecated, and folded into reduction
            continue
        value = getattr(module, name, parameter.default)
        if value != parameter.default:
            given.append(f"{name}={literal(value)}")
    return f"nn.{kind.__name__}({', '.join(given)})"
