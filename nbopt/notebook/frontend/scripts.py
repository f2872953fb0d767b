"""Scripts that import others: a widget's is sent to the page as one text."""

from __future__ import annotations

import re
from pathlib import Path

_IMPORT = re.compile(r"^import \{[^}]*\} from '(\./[\w./-]+)';\n", re.MULTILINE)


def joined(path: Path) -> str:
    """Return the text of a script with the scripts that it imports, ``import { name } from './file.js'``, before it.

    All of them share one scope then: none may use a name that another one has at its top.
    """
    return _joined(path.resolve(), set())


def _joined(path: Path, seen: set[Path]) -> str:
    text = path.read_text(encoding="utf-8")
    parts = []
    for name in _IMPORT.findall(text):
        if (other := (path.parent / name).resolve()) not in seen:
            seen.add(other)
            parts.append(re.sub(r"^export (?!default)", "", _joined(other, seen), flags=re.MULTILINE))
    return "".join([*parts, _IMPORT.sub("", text)])
