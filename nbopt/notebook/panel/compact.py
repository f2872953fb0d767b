"""A panel drawn small: one below another, so that both are in sight, until somebody wants the whole of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nbopt.i18n import _
from nbopt.notebook.frontend.widgets import WidgetFactory

_CSS = "nbopt-compact"


class Compact:
    """Draws a panel small, and lets a button change that.

    Parameters
    ----------
    panel, bar : ipywidgets.Widget
        The panel's root, and the box that gets the button.
    wake : callable
        Tells the bridge that there is something to show.
    kit : WidgetFactory

    Attributes
    ----------
    whole : ipywidgets.ToggleButton
    """

    def __init__(self, panel: Any, bar: Any, wake: Callable[[], None], kit: WidgetFactory) -> None:
        self._panel = panel
        tip = _("Show all controls and charts of this run")
        self.whole = kit.toggle("whole", _("Whole panel"), wake, tip)
        panel.add_class(_CSS)
        bar.children = [self.whole, *bar.children]

    def paint(self) -> None:
        """Be as large as was asked for; called by the bridge alone."""
        (self._panel.remove_class if self.whole.value else self._panel.add_class)(_CSS)
