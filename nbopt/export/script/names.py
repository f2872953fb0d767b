"""What a script's own text uses of `nbopt.export.script.plain` and `deals`: written out, imported, or a constant."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from typing import Any

from nbopt.export.script import deals, plain
from nbopt.export.script.prune import prune
from nbopt.export.source import Sources
from nbopt.export.source_text import names_read

_IMPORTS: dict[str, str] = {}
_TEXTS: dict[str, str] = {}  # of functions and classes, in the order in which scripts have them
SHARED: dict[str, Any] = {}
"""What a script may hold or import, by name."""


def _look_into(module: Any) -> None:
    text = inspect.getsource(module)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.col_offset:
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            _TEXTS[node.name] = "\n".join(text.splitlines()[first - 1 : node.end_lineno]).replace("  # noqa: B905", "")
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            home = getattr(node, "module", "") and f"from {getattr(node, 'module', '')} "
            for alias in node.names:
                other = f" as {alias.asname}" if alias.asname else ""
                _IMPORTS[alias.asname or alias.name] = f"{home}import {alias.name}{other}"
    SHARED.update({name: item for name, item in vars(module).items() if not name.startswith("_")})


_look_into(deals)
_look_into(plain)
SHARED = {**dict.fromkeys(_IMPORTS), **SHARED}


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
            if name in _TEXTS:
                texts[name] = prune(_TEXTS[name], known).rstrip()
                if not seeds_all:
                    texts[name] = texts[name].replace("seed_all(", "torch.manual_seed(")
                names += names_read(texts[name])
            elif "nbopt." not in _IMPORTS.get(name, "nbopt."):
                sources.imports.append(_IMPORTS[name])
            elif callable(SHARED.get(name)):
                sources.define(name, SHARED[name])
        self.definitions = [texts[name] for name in _TEXTS if name in texts]
