"""Taking widgets away for good: ipywidgets keeps every widget until it is closed, and does not close what it holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ipywidgets import Widget


def close_all(*roots: Any) -> None:
    """Close widgets and all that they are made of: children, layouts, styles, marks, scales."""
    found: dict[int, Any] = {}
    waiting = list(roots)
    while waiting:
        widget = waiting.pop()
        if id(widget) not in found:
            found[id(widget)] = widget
            waiting += _parts(widget)
    for widget in found.values():
        widget.close()


def _parts(widget: Any) -> Iterator[Any]:
    for name in widget.keys:
        value = getattr(widget, name)
        items = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else [value]
        yield from (item for item in items if isinstance(item, Widget))
