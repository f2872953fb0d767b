"""The playground's own inputs, each of which calls what it is given with what was chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets as widgets

from nbopt.formatting import number
from nbopt.notebook.frontend.subshells import keep_frontend_route


def button(text: str, icon: str, act: Callable[[], Any], css: str, tooltip: str = "") -> Any:
    """Return a button."""
    item = widgets.Button(description=text, icon=icon, tooltip=tooltip or text)
    item.on_click(lambda _button: act())
    return _finished(item, css)


def menu(text: str, options: Mapping[str, str], value: str, act: Callable[[Any], Any], css: str) -> Any:
    """Return a drop-down of names, with what a person reads for each."""
    item = widgets.Dropdown(options=[(label, name) for name, label in options.items()], value=value, description=text)
    item.observe(lambda change: act(change["new"]), "value")
    return _finished(item, css)


def slider(text: str, stops: Sequence[float], value: float, act: Callable[[Any], Any], css: str) -> Any:
    """Return a slider over a few numbers, that acts on release."""
    options = [(number(stop), stop) for stop in stops]
    item = widgets.SelectionSlider(options=options, value=value, description=text, continuous_update=False)
    item.observe(lambda change: act(change["new"]), "value")
    return _finished(item, css)


def _finished(item: Any, css: str) -> Any:
    keep_frontend_route(item)
    item.add_class(f"nbopt-play-{css}")
    return item
