"""Code without what did not act: statements that need it are left out, and conditions that are known are decided.

=======================  ============================================================================
what is false            takes along the statement it stands in, or the ``if``, ``for`` or function
``a or gone``            is ``a``; so are ``a and known``, ``a + gone`` and ``gone if gone else a``
``with gone:``           leaves its body
``if known:``            leaves its body or its ``else``
=======================  ============================================================================

Comments above a statement go with it. An expression to be shortened stands in one line.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from nbopt.export.source_text import parsed


def prune(text: str, known: Mapping[str, bool]) -> str:
    """Return ``text`` without what is not needed.

    Parameters
    ----------
    text : str
        Python.
    known : mapping of str to bool
        Of names, texts and other expressions, as `ast.unparse` writes them: whether they are true, or there at all.
    """
    return _Pruner(text.splitlines(), known).pruned(parsed(text).body)


class _Pruner:
    def __init__(self, lines: Sequence[str], known: Mapping[str, bool]) -> None:
        self._lines = list(lines)
        self._known = known
        self._dotted = any("." in name for name in known)
        self._gone: set[int] = set()  # lines, counted from 1
        self._margins: Counter[int] = Counter()
        self._found: dict[ast.AST, bool] = {}
        self._cuts: list[tuple[int, int, int]] = []

    def pruned(self, body: Sequence[Any]) -> str:
        """Return the text that is left."""
        self._block(body)
        for number, start, end in sorted(self._cuts, reverse=True):
            line = self._lines[number - 1].encode()  # columns are counted in bytes
            self._lines[number - 1] = (line[:start] + line[end:]).decode()
        kept = [number for number in range(1, len(self._lines) + 1) if number not in self._gone]
        return "\n".join(self._lines[number - 1][self._margins[number] :] for number in kept) + "\n"

    def _block(self, statements: Sequence[Any]) -> bool:
        """Go through some statements; return whether any is left."""
        left = [self._statement(each) for each in statements]
        return any(left)

    def _statement(self, item: Any) -> bool:
        first = min([item.lineno, *(each.lineno for each in getattr(item, "decorator_list", []))])
        if isinstance(item, ast.If) and (holds := self._truth(item.test)) is not None:
            kept = item.body if holds else item.orelse
            return self._unwrap(item, kept) if kept else self._leave_out(first, item)
        if isinstance(item, ast.With) and any(map(self._is_gone, item.items)):
            return self._unwrap(item, item.body)
        if self._is_needless(item):
            return self._leave_out(first, item)
        if not hasattr(item, "body"):
            self._cut(item)
            return True
        if not self._block(item.body):
            return self._leave_out(first, item)
        if isinstance(item, (ast.If, ast.While, ast.For)):
            self._cut(item.iter if isinstance(item, ast.For) else item.test)
        if isinstance(item, ast.If) and item.orelse and not self._block(item.orelse):
            self._gone.update(range((item.body[-1].end_lineno or 0) + 1, item.orelse[0].lineno))
        return True

    def _is_needless(self, item: Any) -> bool:
        if isinstance(item, ast.For):
            return self._is_gone(item.iter) or self._is_gone(item.target)
        if hasattr(item, "body"):
            return self._known.get(getattr(item, "name", "")) is False
        value = getattr(item, "value", None)
        if isinstance(item, ast.Assign) and isinstance(value, ast.BinOp) and self._is_gone(value.right):
            return ast.unparse(item.targets[0]) == ast.unparse(value.left)  # nothing is added
        decided = [self._known.get(each.id) for each in getattr(item, "targets", ()) if isinstance(each, ast.Name)]
        return self._is_gone(item) or any(each is not None for each in decided)

    def _leave_out(self, first: int, item: Any) -> bool:
        while first > 1 and self._lines[first - 2].lstrip().startswith("#"):
            first -= 1
        self._gone.update(range(first, item.end_lineno + 1))
        return False

    def _unwrap(self, item: Any, body: list[Any]) -> bool:
        start, end = body[0].lineno, body[-1].end_lineno or 0
        while self._lines[start - 2].lstrip().startswith("#") and start - 1 > item.lineno:
            start -= 1
        self._gone.update({*range(item.lineno, start), *range(end + 1, item.end_lineno + 1)})
        if body[0].col_offset == item.col_offset:  # an ``elif``, which becomes an ``if``
            self._cuts.append((body[0].lineno, body[0].col_offset, body[0].col_offset + len("el")))
        else:
            self._margins.update(dict.fromkeys(range(start, end + 1), 4))
        return self._block(body)

    def _truth(self, node: ast.expr) -> bool | None:
        """Return whether a condition holds; None if that is not known."""
        known = self._known.get(node.id if isinstance(node, ast.Name) else ast.unparse(node))
        known = self._decide(node) if known is None else known
        return known if known is not None else False if self._is_gone(node) else None

    def _decide(self, node: ast.AST) -> bool | None:
        """Return what ``and``, ``or`` or ``not`` makes of what is known; None if it takes more."""
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return None if (holds := self._truth(node.operand)) is None else not holds
        if not isinstance(node, ast.BoolOp):
            return None
        enough, parts = isinstance(node.op, ast.Or), set(map(self._truth, node.values))
        return enough if enough in parts else None if None in parts else not enough

    def _is_gone(self, node: ast.AST) -> bool:
        """Whether what an expression needs is not there."""
        if node not in self._found:
            self._found[node] = self._find_gone(node)
        return self._found[node]

    def _find_gone(self, node: ast.AST) -> bool:
        if isinstance(node, ast.IfExp) and (holds := self._truth(node.test)) is not None:
            return self._is_gone(node.body if holds else node.orelse)
        if isinstance(node, ast.BoolOp) or (isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)):
            return self._decide(node) is False
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
            return self._is_gone(node.left)
        if isinstance(node, ast.Constant):
            return isinstance(node.value, str) and self._known.get(ast.unparse(node)) is False
        if isinstance(node, ast.Name):
            return self._known.get(node.id) is False
        named = isinstance(node, ast.Attribute) and self._dotted and self._known.get(ast.unparse(node)) is False
        return named or any(map(self._is_gone, ast.iter_child_nodes(node)))

    def _cut(self, node: ast.AST) -> None:
        """Shorten an expression to what is there."""
        kept: list[Any] = []
        if isinstance(node, ast.IfExp) and (holds := self._truth(node.test)) is not None:
            kept = [node.body if holds else node.orelse]
        elif isinstance(node, ast.BinOp) and self._is_gone(node.right):  # as `_is_gone` has it, a sum
            kept = [node.left]
        elif isinstance(node, ast.BoolOp):
            needless = isinstance(node.op, ast.And)  # what holds anyway
            left = [k for k, value in enumerate(node.values) if self._truth(value) is not needless]
            kept = node.values[left[0] : left[-1] + 1] if left else []  # without those at its ends
        for part in kept or ast.iter_child_nodes(node):
            self._cut(part)
        if kept:
            whole: Any = node
            self._cuts.append((whole.lineno, whole.col_offset, kept[0].col_offset))
            self._cuts.append((whole.lineno, kept[-1].end_col_offset, whole.end_col_offset))
