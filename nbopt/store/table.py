"""A table of runs as HTML, for notebooks: nothing in it wraps, and all text is escaped."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Sequence
from typing import Any

Column = tuple[str, Callable[[Any], str]]
"""A heading, and what a row has in this column."""

_CELL = "padding:2px 12px 2px 0;text-align:left;white-space:nowrap;font-variant-numeric:tabular-nums"
_LONGEST = 60  # characters of a cell


def table(columns: Sequence[Column], rows: Iterable[Any]) -> str:
    """Return the table; where the page is too narrow, it is scrolled."""
    head = "".join(f'<th style="{_CELL};font-weight:600">{html.escape(title)}</th>' for title, _tell in columns)
    body = "".join(f"<tr>{''.join(_cell(tell(row)) for _title, tell in columns)}</tr>" for row in rows)
    return (
        '<div class="nbopt-runs-list" style="overflow-x:auto"><table style="border-collapse:collapse;margin:0">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(text: str) -> str:
    shown = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    whole = "" if shown == text else f' title="{html.escape(text[:2000], quote=True)}"'
    return f'<td style="{_CELL}"{whole}>{html.escape(shown)}</td>'
