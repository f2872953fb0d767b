"""Where a function or class was written: its text, and the names it reads."""

from __future__ import annotations

import ast
import functools
import inspect
import re
import symtable
import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import suppress
from types import CodeType, FunctionType
from typing import Any

from nbopt.i18n import _


@functools.lru_cache(maxsize=8)
def parsed(text: str) -> ast.Module:
    """Return the tree of a text, which is only to be read: most texts are read several times in a row."""
    return ast.parse(text)


def text_of(item: FunctionType | type, name: str) -> str:
    """Return the statement that makes ``item``; that of a lambda is a function called ``name``.

    Raises
    ------
    ValueError
        If there is none, as of what was made by another function.
    """
    if getattr(item, "__name__", "") == "<lambda>":
        return _lambda_text(item, name)
    tree: ast.stmt | None = None
    with suppress(OSError, TypeError, SyntaxError):  # no source, or not that of a statement
        source = _class_text(item) if isinstance(item, type) else inspect.getsource(item)
        text = textwrap.dedent(source).strip()
        tree = parsed(text).body[0]
    if not isinstance(tree, (ast.FunctionDef, ast.ClassDef)):
        raise ValueError(_("{name} is not written as a plain function or class.", name=item.__name__))
    if hasattr(item, "__wrapped__") and not tree.decorator_list:
        raise ValueError(_("{name} is wrapped by another function.", name=item.__name__))
    return text


def _class_text(kind: type) -> str:
    """Return the source of a class; that of a notebook's is found by its methods, as its module has no file."""
    for method in _methods(kind):
        lines = inspect.findsource(method)[0]
        line = method.__code__.co_firstlineno
        for node in ast.walk(parsed("".join(lines))):
            if not isinstance(node, ast.ClassDef) or node.name != kind.__name__:
                continue
            if node.lineno <= line <= (node.end_lineno or 0):
                first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
                return "".join(lines[first - 1 : node.end_lineno])
    return inspect.getsource(kind)


def _lambda_text(item: Any, name: str) -> str:
    code = item.__code__
    with suppress(OSError, TypeError, SyntaxError):
        source = "".join(inspect.findsource(item)[0])
        for node in ast.walk(parsed(source)):
            if isinstance(node, ast.Lambda) and node.lineno == code.co_firstlineno and _compiles_to(node, code):
                arguments = ast.unparse(node.args)
                body = ast.get_source_segment(source, node.body) or ""
                body = ast.unparse(node.body) if "\n" in body else body
                return f"def {name}({arguments}):\n    return {body}"
    raise ValueError(_("{name} is a lambda whose source is not to be found: write it as a function.", name=name))


def _compiles_to(node: ast.Lambda, code: CodeType) -> bool:
    """Whether a lambda has this code: several may stand in one line."""
    arguments = [arg.arg for arg in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    if list(code.co_varnames[: len(arguments)]) != arguments:
        return False
    made = compile(ast.Expression(node), "lambda", "eval").co_consts
    return any(isinstance(each, CodeType) and _constants(each) == _constants(code) for each in made)


def _constants(code: CodeType) -> Any:
    """Return numbers and texts of a code, and all names in it, whatever scope they are of."""
    values = [repr(value) for value in code.co_consts if not isinstance(value, CodeType)]
    return values, sorted({*code.co_names, *code.co_freevars}), code.co_varnames


def bindings_of(item: FunctionType | type) -> dict[str, Any]:
    """Return what names mean where ``item`` was written: globals, and values of the functions around it."""
    functions: list[Any] = [inspect.unwrap(item)] if isinstance(item, FunctionType) else list(_methods(item))
    home = item if isinstance(item, type) else functions[0]
    known: dict[str, Any] = dict(vars(sys.modules[home.__module__])) if home.__module__ in sys.modules else {}
    for function in functions:
        known.update(function.__globals__)
    for function in functions:
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            with suppress(ValueError):  # not bound yet
                known[name] = cell.cell_contents
    return known


def _methods(kind: type) -> Iterator[FunctionType]:
    for member in vars(kind).values():
        method = getattr(member, "__func__", None) or getattr(member, "fget", None) or member
        if isinstance(method, FunctionType) and isinstance(inner := inspect.unwrap(method), FunctionType):
            yield inner


def names_read(text: str) -> list[str]:
    """Return the names that a statement reads, and neither makes itself nor finds in Python.

    Raises
    ------
    ValueError
        If a function in it changes variables that are not its own.
    """
    try:
        outer, *inner = scopes_of(text)
    except SyntaxError as error:  # nonlocal, without the function around it
        raise ValueError(_("it changes a variable of the function it was made in.")) from error
    read: dict[str, None] = {}
    made = {symbol.get_name() for symbol in outer.get_symbols() if symbol.is_assigned()}
    for scope in (outer, *inner):
        for symbol in scope.get_symbols():
            if symbol.is_declared_global() and symbol.is_assigned():
                raise ValueError(_("it changes the global variable {name}.", name=symbol.get_name()))
            if symbol.is_referenced() and (symbol.is_global() or scope is outer):
                read[symbol.get_name()] = None
    return [name for name in read if name not in made and not (name.startswith("__") and name.endswith("__"))]


def scopes_of(text: str) -> list[symtable.SymbolTable]:
    """Return the scopes of some statements: that of all, then those of the functions and classes in them."""
    scopes = [symtable.symtable(text, "source", "exec")]
    for scope in scopes:  # which grows by those in it
        scopes += scope.get_children()
    return scopes


def renamed(text: str, names: Mapping[str, str]) -> str:
    """Return a statement in which some names, its own among them, or attributes of them, ``a.b``, are others."""
    if not names:
        return text
    lines = text.split("\n")
    places = []
    for node in ast.walk(parsed(text)):
        if isinstance(node, (ast.Name, ast.Attribute)) and (name := ast.unparse(node)) in names:
            places.append((node.lineno - 1, node.col_offset, name))
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name in names:
            column = lines[node.lineno - 1].index(f" {node.name}", node.col_offset) + 1
            places.append((node.lineno - 1, column, node.name))
    for row, column, name in sorted(places, reverse=True):
        line = lines[row].encode()  # columns are counted in bytes
        new = line[:column] + names[name].encode() + line[column + len(name.encode()) :]
        lines[row] = new.decode()
    return "\n".join(lines)


def without_annotations(text: str) -> str:
    """Return functions without the types of what they take, hold and return; each of their heads in a line."""
    lines = re.sub(r"  # type: ignore\S*", "", text).split("\n")
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
    nodes: set[Any] = {node for function in functions for node in ast.walk(function) if isinstance(node, ast.AnnAssign)}
    for node in sorted({*nodes, *functions}, key=lambda node: node.lineno, reverse=True):
        row = node.lineno - 1
        if isinstance(node, ast.FunctionDef):
            for argument in ast.walk(node.args):
                vars(argument).pop("annotation", None)
            head = f"def {node.name}({ast.unparse(node.args)}):".replace("'", '"')
            end = next(k for k in range(row, len(lines)) if lines[k].endswith(":"))
            lines[row : end + 1] = [" " * node.col_offset + head]
        elif node.value is None:
            del lines[row]
        else:
            lines[row] = f"{lines[row][: node.target.end_col_offset]} = {lines[row][node.value.col_offset :]}"
    return "\n".join(lines)
