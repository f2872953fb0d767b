"""What a script's own text uses of `nbopt.export.script.plain` and `deals`: written out, imported, or a constant."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from functools import cache
from types import ModuleType
from typing import Any

from nbopt.export.script import deals, edited, plain
from nbopt.export.script.prune import prune
from nbopt.export.source import Sources
from nbopt.export.source_text import names_read

SHARED = {
    name: item for module in (deals, plain, edited) for name, item in vars(module).items() if not name.startswith("_")
}
"""What a script may hold or import, by name; in the order in which scripts have it."""
_HOMES = {module.__name__: module for module in (deals, plain, edited)}


@cache
def _source(item: Any) -> str:
    text = inspect.getsource(
        _HOMES[item.__module__]
    )  # of a class, Python finds the file only by a module that is still there
    node = next(node for node in ast.parse(text).body if getattr(node, "name", "") == item.__name__)
    assert isinstance(node, ast.FunctionDef | ast.ClassDef)
    first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
    return "\n".join(text.splitlines()[first - 1 : node.end_lineno]).replace("  # noqa: B905", "") + "\n"


class Names:
    """What is used, directly or by what is used.

    Parameters
    ----------
    text : str
        The script's own functions.
    sources : Sources
        Which knows what the user's own code uses, and is to hold what is taken from nbopt as it is written there.
    known : mapping of str to bool
        What holds of the run, see `nbopt.export.script.prune`.
    tables : str
        Tables that the script has besides, which use names too.

    Attributes
    ----------
    text : str
        The script's own functions, where only torch is to be seeded by its own function.
    definitions : list of str
        Functions and classes.
    read : set of str
        All names that the script's own text reads.
    """

    def __init__(self, text: str, sources: Sources, known: Mapping[str, bool], tables: str = "") -> None:
        texts: dict[str, str] = {}
        seeds_all = known.get("random") is not False or known.get("np.random") is not False
        self.text = text = text if seeds_all else text.replace("seed_all(", "torch.manual_seed(")
        self.read: set[str] = set()
        names = names_read(f"{tables}\n{text}")
        while names := sorted({*names, *sources.used} - self.read):
            name = names.pop()
            self.read.add(name)
            item: Any = SHARED.get(name)
            if getattr(item, "__module__", "") in _HOMES:
                texts[name] = prune(_source(item), known).rstrip()
                if not seeds_all:
                    texts[name] = texts[name].replace("seed_all(", "torch.manual_seed(")
                names += names_read(texts[name])
            elif callable(item) or isinstance(item, ModuleType):
                sources.hold(name, item)
        self.definitions = [texts[name] for name in SHARED if name in texts]
