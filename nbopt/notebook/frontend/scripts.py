"""Scripts that import others, and style sheets: a widget's are sent to the page as one text each."""

from __future__ import annotations

import re
from pathlib import Path

_IMPORT = re.compile(r"^import \{[^}]*\} from '(\./[\w./-]+)';\n", re.MULTILINE)


_THEME = Path(__file__).parent / "theme.css"


def styles(*paths: Path) -> str:
    """Return the text of a widget's style sheets, with the colours that all of them use before it."""
    return "\n".join(path.read_text(encoding="utf-8") for path in (_THEME, *paths))


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
