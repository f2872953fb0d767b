"""What the playground is laid out with: boxes, its text, its legend."""

from __future__ import annotations

import html
from typing import Any

import ipywidgets as widgets

from nbopt.i18n import _
from nbopt.notebook.charts.colours import CLASSES


def box(name: str, *children: Any) -> Any:
    """Return a box of the class that ``panel.css`` lays out."""
    box = widgets.Box(children)
    box.add_class(f"nbopt-{name}")
    return box


def said(text: str, title: str = "") -> str:
    """Return a lesson's text, or the welcome, as HTML."""
    head = f"<b>{html.escape(title)}.</b> " if title else ""
    return f'<div role="status">{head}{html.escape(text)}</div>'


def legend() -> str:
    """Return what shapes and colours mean."""
    first, second = CLASSES
    marks = (
        (f"background:{first};border-radius:50%", _("first class; a weight below 0")),
        (f"background:{second}", _("second class; a weight above 0")),
        ("border:1.5px solid var(--nbopt-soft);border-radius:50%", _("hollow points: validation")),
    )
    return "".join(f'<div><i style="{style}"></i>{html.escape(text)}</div>' for style, text in marks)
