"""What stands folded below a panel's charts, each made when somebody first unfolds it: a panel starts without."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from nbopt.notebook.frontend.widgets import WidgetFactory

_FOLDED = "nbopt-gone"


class Content(Protocol):
    """What a drawer holds."""

    widget: Any

    def paint(self) -> None:
        """Bring it up to date; called by the bridge alone, while the drawer is open."""

    def close(self) -> None:
        """Let go of what a closed widget would not."""


class Drawer(NamedTuple):
    """How a drawer is called and what makes what it holds.

    Attributes
    ----------
    title, tip : str
    make : callable
    """

    title: str
    tip: str
    make: Callable[[], Content]


class Drawers:
    """A row of buttons, and below it what they unfold.

    Parameters
    ----------
    drawers : mapping of str to Drawer
        By the name that stands in their CSS classes.
    wake : callable
        Tells the bridge that there is something to show.
    kit : WidgetFactory

    Attributes
    ----------
    toggles : dict of str to ipywidgets.ToggleButton
    made : dict of str to Content
    bar, widget : ipywidgets.Box
        The buttons, and what they unfold.
    """

    def __init__(self, drawers: Mapping[str, Drawer], wake: Callable[[], None], kit: WidgetFactory) -> None:
        self.made: dict[str, Content] = {}
        self._kit = kit
        self._places: dict[str, Any] = {}
        self._drawers = drawers
        self.toggles: dict[str, Any] = {}
        for name, drawer in drawers.items():
            self.toggles[name] = kit.toggle(f"drawer-{name}", drawer.title, wake, drawer.tip)
        self.bar = kit.box("drawer-bar", *self.toggles.values())
        self.widget = kit.box("drawers")

    def paint(self) -> None:
        """Make what is asked for the first time, and bring up to date what is seen; called by the bridge alone."""
        for name, toggle in self.toggles.items():
            if name not in self.made:
                if not toggle.value:
                    continue
                self.made[name] = self._drawers[name].make()
                self._kit.guard(self.made[name].widget)
                self._places[name] = self._kit.box("drawer-place", self.made[name].widget)
                self.widget.children = list(self._places.values())
            if toggle.value:
                self._places[name].remove_class(_FOLDED)
                self.made[name].paint()
            else:
                self._places[name].add_class(_FOLDED)

    def close(self) -> None:
        """Let go of what was made."""
        for content in self.made.values():
            content.close()
