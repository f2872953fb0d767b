"""What the page may tell an input: only what a person can do to it. All else is refused, with the reason.

ipywidgets lets a message set any trait, and an exception on the way would be seen by nobody.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

import ipywidgets as widgets
from traitlets import TraitError

from nbopt.errors import shorten
from nbopt.i18n import _
from nbopt.notebook.frontend.bridge import FrontEnd

_TAKES: dict[type, tuple[str, tuple[type, ...]]] = {
    widgets.Text: ("value", (str,)),
    widgets.Checkbox: ("value", (bool,)),
    widgets.ToggleButton: ("value", (bool,)),
    widgets.FloatSlider: ("value", (int, float)),
    widgets.SelectionSlider: ("index", (int,)),
    widgets.Dropdown: ("index", (int,)),
    widgets.Select: ("index", (int,)),
}
_EVENTS: dict[type, str] = {widgets.Button: "click", widgets.Text: "submit"}
INPUTS = (*_TAKES, *_EVENTS, FrontEnd)
"""The kinds of widgets that a page may tell something."""


def guard(root: Any, refuse: Callable[[str], None]) -> None:
    """Let the inputs below ``root`` take sane messages only.

    Parameters
    ----------
    root : ipywidgets.Widget
    refuse : callable
        Takes the reason why a message was not taken, on the kernel's thread that it came by.
    """
    inputs: list[Any] = [widget for widget in _tree(root) if isinstance(widget, INPUTS)]
    for widget in inputs:
        widget.comm.on_msg(partial(_take, widget, refuse))


def _tree(root: Any) -> Iterator[Any]:
    yield root
    for child in getattr(root, "children", ()):
        yield from _tree(child)


def _take(widget: Any, refuse: Callable[[str], None], message: Any) -> None:
    name, kinds = _of(widget, _TAKES) or ("", ())
    data = message["content"]["data"]
    match data:
        case {"method": "request_state"}:
            reason = ""
        case {"method": "update", "state": dict(state)} if not state.keys() - {name} and not data.get("buffer_paths"):
            wrong = [value for value in state.values() if not _is_legal(widget, name, kinds, value)]
            reason = _("{value} cannot be set here.", value=shorten(wrong[0])) if wrong else ""
        case {"method": "custom", "content": {"event": str(event)}} if event == _of(widget, _EVENTS):
            reason = ""
        case {"method": "custom", "content": _content} if isinstance(widget, FrontEnd):
            reason = ""  # the panel judges
        case _:
            reason = _("The panel does not understand {message}.", message=shorten(data))
    if not reason:
        widget._handle_msg(message)
        return
    refuse(reason)
    if name:  # the page shows what is not so
        with getattr(widget, "lock", nullcontext()):
            widget.send_state(name)


def _is_legal(widget: Any, name: str, kinds: tuple[type, ...], value: Any) -> bool:
    if type(value) not in kinds or (isinstance(value, float) and not math.isfinite(value)):
        return False
    try:
        if isinstance(value, str):
            value.encode()  # half a surrogate pair could not be sent back
        widget.traits()[name]._validate(widget, value)  # all that assigning would check
    except (TraitError, ValueError):
        return False
    return True


def _of(widget: Any, table: Mapping[type, Any]) -> Any:
    return next((found for kind, found in table.items() if isinstance(widget, kind)), None)
