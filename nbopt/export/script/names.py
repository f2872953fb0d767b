"""What a script's own text uses of `nbopt.export.script.plain` and `deals`: written out, imported, or a constant."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from nbopt.export.script import deals, edited, plain
from nbopt.export.source import Sources
from nbopt.export.source_text import names_read, renamed, text_of

_HOMES = (deals, plain, edited)
SHARED = {name: item for module in _HOMES for name, item in vars(module).items() if not name.startswith("_")}
"""What a script may hold or import, by name; in the order in which scripts have it."""


def hold_used(text: str, sources: Sources, others: Mapping[str, str]) -> tuple[list[str], set[str]]:
    """Have a script hold or import what it uses, directly or by what it uses.

    Parameters
    ----------
    text : str
        The script's own functions and tables.
    sources : Sources
        Which knows what the user's own code uses, and is to hold what is taken from nbopt as it is written there.
    others : mapping of str to str
        What is called otherwise than it is written.

    Returns
    -------
    definitions : list of str
        Functions and classes of `plain`, `deals` and `edited`.
    read : set of str
        All names that the script's own text reads.
    """
    texts: dict[str, str] = {}
    read: set[str] = set()
    names = names_read(text)
    while names := sorted({*names, *sources.used} - read):
        name = names.pop()
        read.add(name)
        item: Any = SHARED.get(name)
        if getattr(item, "__module__", "") in {home.__name__ for home in _HOMES}:
            texts[name] = renamed(text_of(item, name), others)
            names += names_read(texts[name])
        elif callable(item) or isinstance(item, ModuleType):
            sources.hold(name, item)
    return [texts[name] for name in SHARED if name in texts], read
