"""Text of which words are filled in: lines of code, put together."""

from __future__ import annotations

import re
import textwrap
from string import Template

WIDTH = 88
"""Of a line: what formatters take for granted."""

_LAST_CALL = re.compile(r"( *)(.*?\w\()(.*)(\):?)")


def lines(*items: str) -> str:
    """Return those of ``items`` that are not empty, below each other."""
    return "\n".join(item.rstrip("\n") for item in items if item)


def indent(text: str) -> str:
    """Return ``text`` as it stands in a block."""
    return textwrap.indent(text, "    ")


def fill(template: str, **words: str) -> str:
    """Return ``template`` with each ``$word`` filled in.

    A word of several lines keeps the indentation, and a line that consists of a word that is empty is left out. Calls
    and ``def`` that grow longer than `WIDTH` are broken, one argument a line.

    Raises
    ------
    KeyError
        For a word in the template that is not given.
    """
    return "\n".join(part for line in template.splitlines() for part in _filled(line, words))


def tidy(text: str) -> str:
    """Leave as many blank lines as code should have."""
    text = re.sub(r"\n{3,}(?= )", "\n\n", text)
    text = re.sub(r":\n\n+(?= )", ":\n", text)
    text = re.sub(r"(?<!\))\n{2,}(?=def |@|class )", "\n\n\n", text)
    return re.sub(r"\n{4,}", "\n\n\n", text).strip() + "\n"


def _filled(line: str, words: dict[str, str]) -> list[str]:
    text = Template(line).substitute(words)
    if "$" in line and not text.strip():
        return []
    first, *rest = text.rstrip("\n").split("\n")
    margin = line[: len(line) - len(line.lstrip())]
    found = [first, *(margin + each if each else "" for each in rest)]
    return [part for each in found for part in _broken(each)] if margin or not rest else found  # others are the user's


def _broken(line: str) -> list[str]:
    """Return a line that is too long as several, if it is a call of names and simple expressions."""
    call = _LAST_CALL.fullmatch(line)
    if len(line) <= WIDTH or call is None or set("()[]{}\"'") & set(call[3].replace("()", "")):
        return [line]
    margin, opening, arguments, closing = call.groups()
    return [margin + opening, *(f"{margin}    {item}," for item in arguments.split(", ")), margin + closing]


def plain(text: str) -> str:
    """Return ``text`` as it may stand in a comment or docstring."""
    return "".join(letter for letter in text if letter.isprintable() and letter not in "\"'\\$#")
