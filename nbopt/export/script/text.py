"""Text of which words are filled in: lines of code, put together."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from string import Template
from typing import Any

WIDTH = 88
"""Of a line: what formatters take for granted."""

_SIMPLE, _NOT_SIMPLE = re.compile(r'\(\)|"\w*"'), re.compile(r"""[()\[\]{}"']""")
_LAST_CALL = re.compile(r"( *)(.*?\w\()(.*)(\):?)")


def lines(*items: str) -> str:
    """Return those of ``items`` that are not empty, below each other."""
    return "\n".join(item.rstrip("\n") for item in items if item)


def indent(text: str) -> str:
    """Return ``text`` as it stands in a block."""
    return textwrap.indent(text, "    ")


class Words(dict[str, Any]):
    """What is said for each word: text to be filled in for a ``$word``, or whether something holds.

    A word that is not there is a piece of text with words itself.

    Parameters
    ----------
    pieces : mapping of str to str
    """

    def __init__(self, pieces: Mapping[str, str]) -> None:
        super().__init__()
        self.pieces = dict(pieces)

    def __missing__(self, word: str) -> str:
        return fill(self.pieces[word], self)


def fill(template: str, words: Mapping[str, Any] | None = None, **others: str) -> str:
    """Return ``template`` with each ``$word`` filled in.

    A word of several lines keeps the indentation, and a line that consists of a word that is empty is left out.

    Raises
    ------
    KeyError
        For a word in the template that is not given.
    """
    rows = (_filled(line, Template(line).substitute(words or {}, **others)) for line in template.splitlines())
    return "\n".join(part for row in rows for part in row)


def break_long(text: str) -> str:
    """Break calls and ``def`` that are longer than `WIDTH`, one argument a line."""
    return "\n".join(part for line in text.split("\n") for part in _broken(line))


def tidy(text: str) -> str:
    """Leave as many blank lines as code should have."""
    text = re.sub(r"\n{3,}(?= )", "\n\n", text)
    text = re.sub(r":\n\n+(?= )", ":\n", text)
    text = re.sub(r"(?<!\))\n{2,}(?=def |@|class )", "\n\n\n", text)
    return re.sub(r"\n{4,}", "\n\n\n", text).strip() + "\n"


def _filled(line: str, text: str) -> list[str]:
    if "$" in line and not text.strip():
        return []
    first, *rest = text.rstrip("\n").split("\n")
    margin = line[: len(line) - len(line.lstrip())]
    return [first, *(margin + each if each else "" for each in rest)]


def _broken(line: str) -> list[str]:
    """Return a line that is too long as several, if it is a call of names and simple expressions."""
    call = _LAST_CALL.fullmatch(line)
    if len(line) <= WIDTH or call is None or _NOT_SIMPLE.search(_SIMPLE.sub("", call[3])):
        return [line]
    margin, opening, arguments, closing = call.groups()
    return [margin + opening, *(f"{margin}    {item}," for item in arguments.split(", ")), margin + closing]


def plain(text: str) -> str:
    """Return ``text`` as it may stand in a comment or docstring."""
    return "".join(letter for letter in text if letter.isprintable() and letter not in "\"'\\$#")
