"""What is typed into the box of a number, and how long what stands there may be."""

from __future__ import annotations

import re
from typing import Any

from nbopt.hyperparams import Hyperparam, Int

ROOM = 10
"""Characters that fit into a box as wide as most are (panel.css)."""

_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+")


def read(text: str, spec: Hyperparam[Any]) -> Any:
    """Return the number that ``text`` is; the text itself if it is none, for the declaration to say so.

    A comma is a decimal one, as in ``0,001``; between the thousands of a whole number, ``1,024``, it means nothing.
    """
    text = text.strip().replace("\N{MINUS SIGN}", "-")
    if isinstance(spec, Int) and _THOUSANDS.fullmatch(text):
        text = text.replace(",", "")
    elif text.count(",") == 1 and "." not in text:
        text = text.replace(",", ".")
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
