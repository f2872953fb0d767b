"""Whether what a technique of the user's says of itself, ``compiles``, can be true of the hooks that it defines."""

from __future__ import annotations

import dis
import inspect
from collections.abc import Iterator
from types import CodeType
from typing import Any

from nbopt.i18n import _
from nbopt.techniques.base import Technique, compiles, defines, hooks_of
from nbopt.techniques.hooks import HOOKS

_READS = ("LOAD_ATTR", "LOAD_METHOD")
_KEEPS = ("STORE_ATTR", "STORE_SUBSCR", "STORE_GLOBAL", "STORE_DEREF")
_MOVING = {"weights", "context"}  # what steps change, and what tells of the step under way


def check_compiles(technique: Technique) -> None:
    """Raise TypeError if a technique says that it compiles, and the compiled step would do something else.

    That one calls no other hooks than the table of hooks says; it asks for the rates of many steps before the first,
    hands over the losses of many steps after the last, and holds what stands around a pass as it was when compiled.
    """
    kind = type(technique)
    if not compiles(technique):
        return
    hooks = [hook for hook in hooks_of(kind) if not (hook == "after_gradients" and defines(kind, "sign_pull"))]
    if other := next((hook for hook in hooks if not HOOKS[hook].compiled), ""):
        raise _refusal(kind, _("the compiled step does not call {hook}", hook=other))
    noted = _attributes(kind, "after_step", _KEEPS) if "after_step" in hooks else set[str]()
    for hook in ("change_rate", "after_step", "change_every_pass"):
        if hook in hooks and (read := _attributes(kind, hook, _READS) & _MOVING):
            said = _("{hook} reads self.{name}, and is called for several steps at once", hook=hook, name=min(read))
            raise _refusal(kind, said)
    if "change_rate" not in hooks:
        return
    if _attributes(kind, "change_rate", _KEEPS):
        raise _refusal(kind, _("change_rate keeps something from step to step, and is called ahead of them"))
    if read := _attributes(kind, "change_rate", _READS) & noted:
        said = _("change_rate reads self.{name}, which after_step sets, and is called ahead of it", name=min(read))
        raise _refusal(kind, said)


def _refusal(kind: type[Technique], reason: str) -> TypeError:
    return TypeError(_("{kind}.compiles: {reason}. Leave compiles out.", kind=kind.__name__, reason=reason))


def _attributes(kind: type[Technique], name: str, operations: tuple[str, ...]) -> set[str]:
    """Return what a method, and those of its class that it calls, read or set: names of attributes."""
    found, todo, seen = set[str](), [name], set[str]()
    while todo:
        member: Any = inspect.getattr_static(kind, name := todo.pop(), None)
        seen.add(name)
        function = inspect.unwrap(getattr(member, "fget", None) or getattr(member, "__func__", member))
        for code in _codes(getattr(function, "__code__", None)):
            for step in dis.get_instructions(code):
                if step.opname in operations:
                    found.add(str(step.argval))
                if step.opname in _READS and step.argval not in seen and step.argval in _written(kind):
                    todo.append(step.argval)
    return found


def _codes(code: CodeType | None) -> Iterator[CodeType]:
    """Yield the code of a function and of those within it."""
    if code is not None:
        yield code
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                yield from _codes(constant)


def _written(kind: type[Technique]) -> set[str]:
    """Return the names that a class has beside those of `Technique`."""
    return {name for base in kind.__mro__ if base not in Technique.__mro__ for name in vars(base)}
