"""What the playground is laid out with: boxes, its text, its legend."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets

from nbopt.formatting import brief
from nbopt.i18n import _
from nbopt.notebook.charts.colours import CLASSES
from nbopt.notebook.playground.data import KINDS
from nbopt.notebook.playground.lessons import Setup
from nbopt.run.run import Run


def box(name: str, *children: Any) -> Any:
    """Return a box of the class that ``panel.css`` lays out."""
    box = widgets.Box(children)
    box.add_class(f"nbopt-{name}")
    return box


def said(chosen: int, texts: Sequence[tuple[str, str]]) -> str:
    """Return one of the texts, each a title or "" and what it says, as HTML.

    The others lie unseen in the same place, so that it is as high whichever is shown: nothing below moves.
    """
    lines = [(f"<b>{html.escape(title)}.</b> " if title else "") + html.escape(text) for title, text in texts]
    seen, unseen = 'role="status"', 'aria-hidden="true"'
    parts = (f"<div {seen if k == chosen else unseen}>{line}</div>" for k, line in enumerate(lines))
    return f'<div class="nbopt-play-said">{"".join(parts)}</div>'


def legend() -> str:
    """Return what shapes and colours mean."""
    first, second = CLASSES
    marks = (
        (f"background:{first};border-radius:50%", _("first class; a weight below 0")),
        (f"background:{second}", _("second class; a weight above 0")),
        ("border:1.5px solid var(--nbopt-soft);border-radius:50%", _("hollow points: validation")),
    )
    return "".join(f'<div><i style="{style}"></i>{html.escape(text)}</div>' for style, text in marks)


def texts_of(setup: Setup, run: Run) -> dict[str, str]:
    """Return what the pictures of a playground show, in words."""
    accuracy, data = run.history.last("val_accuracy"), _(KINDS[setup.data])
    field = _("Decision boundary on {data}, {count} training points.", data=data, count=setup.samples)
    if accuracy is not None:
        field += " " + _("Validation accuracy {accuracy}.", accuracy=brief(accuracy))
    network = _("Network of {depth} hidden layers of {width} units.", depth=setup.depth, width=setup.width)
    return {"field": field, "network": network}
