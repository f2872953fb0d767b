"""Making a panel's widgets with few models: whatever is sent one by one, a server passes on one by one."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from nbopt.notebook.frontend.intake import INPUTS, guard
from nbopt.notebook.frontend.subshells import keep_frontend_route


class WidgetFactory:
    """Makes the widgets of one panel, which share layout and styles; each would bring its own otherwise.

    Their layout is nobody's to change: how they look is said by their CSS classes. Inputs are heard while a cell runs,
    and take sane messages only.

    Parameters
    ----------
    refuse : callable, optional
        Takes the reason why a message of the page's was not taken; without it, all are.
    later : bool
        Whether the page is told of what is made at `open` only, when all of it has been drawn once: of each widget by
        one message then, instead of one for each thing that was written to it meanwhile.
    """

    def __init__(self, refuse: Callable[[str], None] | None = None, later: bool = False) -> None:
        self._refuse = refuse
        self._layout = widgets.Layout()
        self._styles: dict[type, Any] = {}
        self._shared: dict[str, Any] = {}
        self._waiting: list[Any] | None = [] if later else None

    def make(self, kind: type, *args: Any, css: tuple[str, ...] = (), **traits: Any) -> Any:
        """Return a widget of CSS classes ``css``."""
        traits.setdefault("layout", self._layout)
        if kind in self._styles:
            traits["style"] = self._styles[kind]
        if self._waiting is not None:
            traits["comm"] = _Later()
        made = kind(*args, _dom_classes=css, **traits)
        if self._waiting is not None:
            self._waiting.append(made)
        if made.has_trait("style"):
            self._styles[kind] = made.style
        if isinstance(made, INPUTS):
            keep_frontend_route(made)
            self.guard(made)
        return made

    def share(self, kind: type, **traits: Any) -> Any:
        """Return one of these traits, the same whenever it is asked for: nobody is to change it."""
        key = f"{kind} {traits}"
        if key not in self._shared:
            self._shared[key] = kind(**traits)
        return self._shared[key]

    def open(self) -> None:
        """Tell the page of all that was made so far, and of what comes when it is made."""
        for widget in self._waiting or []:
            self._open(widget)
        self._waiting = None

    def _open(self, widget: Any) -> None:
        """Tell the page of a widget, and before of what is in it: a page knows no names of what is yet to come."""
        for child in getattr(widget, "children", ()):
            self._open(child)
        if isinstance(later := widget.comm, _Later):
            widget.comm = None
            try:
                widget.open()
            except BaseException:
                widget.comm = later  # it is still to be opened
                raise
            if isinstance(widget, INPUTS):
                self.guard(widget)

    def button(self, name: str, text: str, act: Callable[[], Any], tip: str = "", **traits: Any) -> Any:
        """Return a button of CSS class ``nbopt-NAME`` that does ``act``, whose exceptions nobody would see."""
        made = self.make(widgets.Button, css=(f"nbopt-{name}",), description=text, tooltip=tip, **traits)
        made.on_click(lambda _button: act())
        return made

    def toggle(self, name: str, text: str, changed: Callable[[], Any], tip: str = "") -> Any:
        """Return a button that stays down, of CSS classes ``nbopt-drawer`` and ``nbopt-NAME``."""
        css = ("nbopt-drawer", f"nbopt-{name}")
        made = self.make(widgets.ToggleButton, css=css, description=text, tooltip=tip)
        made.observe(lambda _change: changed(), "value")
        return made

    def box(self, name: str, *children: Any) -> Any:
        """Return a box of CSS class ``nbopt-NAME``."""
        return self.make(widgets.Box, children, css=(f"nbopt-{name}",))

    def guard(self, root: Any) -> None:
        """Let what is below ``root``, made elsewhere, take sane messages only."""
        if self._refuse is not None:
            guard(root, self._refuse)


def bundle(widget: Any, text: str) -> dict[str, Any]:
    """Return a widget as a cell's result, with what stands for it where there are no widgets.

    ipywidgets' own begins with the repr of all that is in the widget.
    """
    view = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
    return {"application/vnd.jupyter.widget-view+json": view, "text/plain": text}


class _Later:
    """Stands in the place of a widget's comm, whose name it has already, until the page is told of it."""

    kernel = None  # ipywidgets sends nothing then

    def __init__(self) -> None:
        self.comm_id = uuid.uuid4().hex

    def on_msg(self, callback: Any) -> None:
        """Nothing arrives."""

    def close(self) -> None:
        """Nothing is open."""
