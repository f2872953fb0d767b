"""Making a panel's widgets with few models: whatever is sent one by one, a server passes on one by one."""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets


class WidgetFactory:
    """Makes the widgets of one panel, which share layout and styles; each would bring its own otherwise.

    Their layout is nobody's to change: how they look is said by their CSS classes.
    """

    def __init__(self) -> None:
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
        return made

    def box(self, name: str, *children: Any) -> Any:
        """Return a box of CSS class ``nbopt-NAME``."""
        return self.make(widgets.Box, children, css=(f"nbopt-{name}",))
