"""What a script's own text uses of `nbopt.export.script.plain`: written out, imported, or a constant at its head."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from typing import Any

from nbopt.export.script import deals, plain
from nbopt.export.script.prune import prune
from nbopt.export.source import Sources
from nbopt.export.source_text import names_read

_OWN = (deals, plain)
_IMPORTS: dict[str, str] = {}
for _node in [node for each in _OWN for node in ast.walk(ast.parse(inspect.getsource(each)))]:
    if isinstance(_node, (ast.Import, ast.ImportFrom)):
        for _alias in _node.names:
            _from = f"from {_node.module} " if isinstance(_node, ast.ImportFrom) else ""
            _renamed = f" as {_alias.asname}" if _alias.asname else ""
            _IMPORTS[_alias.asname or _alias.name] = f"{_from}import {_alias.name}{_renamed}"

SHARED: dict[str, Any] = {
    **dict.fromkeys(_IMPORTS),
    **{name: item for each in _OWN for name, item in vars(each).items() if not name.startswith("_")},
}
"""What a script may hold or import, by name."""


class Names:
    """What is used, directly or by what is used.

    Parameters
    ----------
    text : str
        The script's own functions.
    sources : Sources
        Which knows what the user's own code uses, and holds what is taken from nbopt as it is written there.
    drawn : mapping of str to bool
        See `nbopt.export.script.draws.Draws.shared`.

    Attributes
    ----------
    definitions : list of str
        Functions and classes of `nbopt.export.script.plain`.
    read : set of str
        All names that the script's own text reads.
    """

    def __init__(self, text: str, sources: Sources, drawn: Mapping[str, bool]) -> None:
        found: dict[tuple[int, int], str] = {}
        self.read: set[str] = set()
        known = {name: False for name, is_drawn in drawn.items() if not is_drawn}
        names = [*names_read(text), *sources.used]
        while names := list(dict.fromkeys(name for name in (*names, *sources.used) if name not in self.read)):
            name = names.pop()
            self.read.add(name)
            item: Any = SHARED.get(name)
            line = _IMPORTS.get(name, "")
            home = next((k for k, each in enumerate(_OWN) if getattr(item, "__module__", "") == each.__name__), None)
            if home is not None:
                written = prune(inspect.getsource(item).replace("  # noqa: B905", ""), known)
                found[home, inspect.findsource(item)[1]] = written.rstrip()
                names += names_read(written)
            elif line and "nbopt." not in line:
                sources.imports.append(line)
            elif callable(item):
                sources.define(name, item)
        self.definitions = [found[line] for line in sorted(found)]
