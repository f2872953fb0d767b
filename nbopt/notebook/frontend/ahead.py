"""Having the page load what a panel needs, before a panel is asked for."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import anywidget
import bqplot
import ipywidgets as widgets

_NOTHING = Path(__file__).parent / "nothing.js"


@cache
def load_page_ahead() -> tuple[Any, ...]:
    """Send the page one widget of each package, once: it loads a package's scripts when it first hears of one.

    These are half a megabyte and more. While they come, a person reads, or the next cell's panel is being made.
    """
    layout = widgets.Layout()
    script = anywidget.AnyWidget(_esm=_NOTHING.read_text(encoding="utf-8"), layout=layout)
    return layout, script, widgets.HTML(layout=layout), bqplot.LinearScale()
