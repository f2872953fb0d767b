"""Templates: text in which lines and blocks stand under conditions.

========================  =============================================================
written                   means
========================  =============================================================
``text  #? flag``         the line is left out unless the flag is set
``#? flag`` on its own    a block begins, to be left out unless the flag is set
``#?`` on its own         the block ends
``a not b``               a condition: flag a is set and flag b is not
``$word``                 is filled in; a word of several lines keeps the indentation
========================  =============================================================

A call or ``def`` that grows longer than `WIDTH` by what is filled in is broken, one argument a line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from string import Template

WIDTH = 88
"""Of a line: what formatters take for granted."""

_MARK = "#?"
_LAST_CALL = re.compile(r"( *)(.*?\w\()(.*)(\):?)")


def render(template: str, flags: Mapping[str, bool], words: Mapping[str, str]) -> str:
    """Fill in ``template``.

    Raises
    ------
    KeyError
        For a flag or word in the template that is not given.
    """
    set_flags = {name for name, value in flags.items() if value}
    lines: list[str] = []
    blocks: list[bool] = []
    for line in template.splitlines():
        text, mark, condition = line.partition(_MARK)
        if mark and not text.strip():
            if condition.strip():
                blocks.append(_holds(condition, set_flags, flags.keys()))
            else:
                blocks.pop()
        elif (not mark or _holds(condition, set_flags, flags.keys())) and all(blocks):
            lines.extend(_fill(text.rstrip(), words))
    if blocks:
        raise ValueError("a block has no end")
    return _tidy("\n".join(lines))


def _tidy(text: str) -> str:
    """Leave as many blank lines as code should have, where blocks were left out."""
    text = re.sub(r"\n{3,}(?= )", "\n\n", text)
    text = re.sub(r":\n\n+(?= )", ":\n", text)
    text = re.sub(r"(?<!\))\n{2,}(?=def |@)", "\n\n\n", text)
    return re.sub(r"\n{4,}", "\n\n\n", text).strip() + "\n"


def _holds(condition: str, set_flags: Set[str], known: Set[str]) -> bool:
    wanted = True
    for item in condition.split():
        if item == "not":
            wanted = False
            continue
        if item not in known:
            raise KeyError(item)
        if (item in set_flags) is not wanted:
            return False
        wanted = True
    return True


def _fill(line: str, words: Mapping[str, str]) -> list[str]:
    """Return the lines that ``line`` becomes; none if it consists of a word that is empty."""
    filled = Template(line).substitute(words)
    if "$" in line and not filled.strip():
        return []
    if "\n" not in filled:
        return _broken(filled)
    indent = line[: len(line) - len(line.lstrip())]
    first, *rest = filled.split("\n")
    lines = [first, *(indent + text if text else "" for text in rest)]
    return [part for text in lines for part in _broken(text)] if indent else lines  # others are the user's own


def _broken(line: str) -> list[str]:
    """Return a line that is too long as several, if it is a call of names and simple expressions."""
    call = _LAST_CALL.fullmatch(line)
    if len(line) <= WIDTH or call is None or set("()[]{}\"'") & set(call[3].replace("()", "")):
        return [line]
    indent, opening, arguments, closing = call.groups()
    return [indent + opening, *(f"{indent}    {item}," for item in arguments.split(", ")), indent + closing]
