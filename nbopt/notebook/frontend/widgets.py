"""Making a panel's widgets with few models: whatever is sent one by one, a server passes on one by one."""

from __future__ import annotations

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
    """

    def __init__(self, refuse: Callable[[str], None] | None = None) -> None:
        self._refuse = refuse
        self._layout = widgets.Layout()
        self._styles: dict[type, Any] = {}

    def make(self, kind: type, *args: Any, css: tuple[str, ...] = (), **traits: Any) -> Any:
        """Return a widget of CSS classes ``css``."""
        traits.setdefault("layout", self._layout)
        if kind in self._styles:
            traits["style"] = self._styles[kind]
        made = kind(*args, _dom_classes=css, **traits)
        if made.has_trait("style"):
            self._styles[kind] = made.style
        if isinstance(made, INPUTS):
            keep_frontend_route(made)
            self.guard(made)
        return made

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
