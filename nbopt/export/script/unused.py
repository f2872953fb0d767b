"""What a function sets and nothing needs, found by following all that it returns and does back to what this reads."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence, Set
from typing import Any

from nbopt.export.source_text import parsed

_DOES = ""  # a function does something whatever it sets

_Rule = tuple[str, set[str], set[str]]
"""Within a function that is needed: if one of some names is needed, so are others."""


def find_unused(text: str, kept: Set[str]) -> set[str]:
    """Return the variables of a function, and the functions in it, that nothing needs.

    Needed is what is returned, and what is handed to functions; and all that a needed variable is set or changed by.
    So ``a = 0``, ``a += b``, ``a.append(b)`` and ``a[0] = b`` are of use only as far as ``a`` is. What a loop goes over
    is changed with its variable.

    Parameters
    ----------
    text : str
        Of one function.
    kept : set of str
        Variables that are needed in any case.
    """
    (function,) = parsed(text).body
    assert isinstance(function, ast.FunctionDef)
    given = {each.arg for each in function.args.args}
    known = {name for node in ast.walk(function) for name in _made(node)} - given
    rules = list(_rules(function.body, _DOES, set(), known))
    needed = {_DOES, *kept, *given, function.name}
    while more := {name for own, when, then in rules if own in needed and when & needed for name in then} - needed:
        needed |= more
    return known - needed


def _made(node: ast.AST) -> set[str]:
    """Return the names that a statement gives a value, or changes the value of."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return {node.name}
    targets: list[Any] = getattr(node, "targets", [])
    if isinstance(node, (ast.AugAssign, ast.For)):
        targets = [node.target]
    targets = [item for target in targets for item in getattr(target, "elts", [target])]
    return {name for target in targets if (name := _base(target))}


def _base(node: Any) -> str:
    """Return the variable that an expression begins with: ``a`` of ``a.b[c]``; "" if it is more than that."""
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _read(node: Any) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load)}


def _rules(body: Sequence[ast.stmt], function: str, around: Set[str], known: Set[str]) -> Iterator[_Rule]:
    """Yield what needs what, in statements that stand in blocks which read the names ``around``."""
    for item in body:
        if isinstance(item, ast.FunctionDef):
            yield from _rules(item.body, item.name, around, known)
        elif isinstance(item, (ast.If, ast.For, ast.While, ast.With)):
            heads = [getattr(item, "test", None), getattr(item, "iter", None), *getattr(item, "items", ())]
            read, made = {name for head in heads if head is not None for name in _read(head)}, _made(item)
            yield function, read, made
            yield from _rules(item.body, function, {*around, *read, *made}, known)
            yield from _rules(getattr(item, "orelse", []), function, {*around, *read}, known)
        else:
            changed = _made(item)
            if isinstance(item, ast.Expr) and isinstance(item.value, ast.Call):  # a method of what is changed by it
                changed = {_base(item.value.func)} if isinstance(item.value.func, ast.Attribute) else set()
            yield function, changed if changed and changed <= known else {_DOES}, {*_read(item), *changed, *around}
