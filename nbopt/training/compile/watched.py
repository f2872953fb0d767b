"""What a model's Python code reads, as it was when it was compiled; and whether it is so still."""

from __future__ import annotations

from collections.abc import Mapping
from types import CellType, CodeType, FunctionType
from typing import Any

from nbopt.i18n import _
from nbopt.training.compile.values import MISSING, contents, differ


class Watched:
    """Names and what they are bound to.

    Attributes
    ----------
    names : list of (object, mapping, str, object)
        Whose name it is, where it is looked up, the name and its value.
    cells : list of (CellType, str, object)
        Variables of closures, their names and values.
    functions : list of (FunctionType, CodeType, tuple or None)
        Functions, their code and their defaults.
    held : list of (int, str, object)
        Attributes of modules: the module's number, name and value.
    """

    def __init__(self) -> None:
        self.names: list[tuple[object, Mapping[str, Any], str, Any]] = []
        self.cells: list[tuple[CellType, str, Any]] = []
        self.functions: list[tuple[FunctionType, CodeType, tuple[Any, ...] | None]] = []
        self.held: list[tuple[int, str, Any]] = []

    def find_change(self) -> str:
        """Return the name of something that was bound anew since; "" if nothing was."""
        for _owner, space, name, value in self.names:
            if space.get(name, MISSING) is not value and differ(space.get(name, MISSING), value):
                return name
        for cell, name, value in self.cells:
            if contents(cell) is not value and differ(contents(cell), value):
                return name
        for function, code, defaults in self.functions:  # as an editor's reload exchanges them
            if function.__code__ is not code or function.__defaults__ is not defaults:
                return function.__qualname__
        return ""

    def find_difference(self, other: Watched) -> str:
        """Return the name of what another model's code reads otherwise, or as another value; "" if there is nothing."""
        ours, theirs = self._list(), other._list()
        for (owner, name, value), (owner_there, name_there, value_there) in zip(ours, theirs, strict=False):
            same_owner = owner is owner_there or (isinstance(owner, str) and owner == owner_there)
            if not same_owner or name != name_there or differ(value, value_there):
                return name or _("the code")
        return "" if len(ours) == len(theirs) else _("the code")

    def _list(self) -> list[tuple[object, str, Any]]:
        names = [(owner, name, value) for owner, _space, name, value in self.names]
        held = [(str(number), name, value) for number, name, value in self.held]
        codes = [(function, "", code) for function, code, _defaults in self.functions]
        return [*names, *self.cells, *held, *codes]
