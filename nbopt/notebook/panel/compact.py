"""A panel drawn small: one below another, so that both are in sight, until somebody wants the whole of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from nbopt.i18n import _
from nbopt.notebook.frontend.intake import guard
from nbopt.notebook.frontend.subshells import keep_frontend_route
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
    refuse : callable
        Takes the reason why a message of the page's was not taken.
    kit : WidgetFactory

    Attributes
    ----------
    whole : ipywidgets.ToggleButton
    """

    def __init__(
        self, panel: Any, bar: Any, wake: Callable[[], None], refuse: Callable[[str], None], kit: WidgetFactory
    ) -> None:
        self._panel = panel
        tip = _("Show all controls and charts of this run")
        css = ("nbopt-drawer", "nbopt-whole")
        self.whole = kit.make(widgets.ToggleButton, description=_("Whole panel"), tooltip=tip, css=css)
        keep_frontend_route(self.whole)
        guard(self.whole, refuse)
        self.whole.observe(lambda _change: wake(), "value")
        panel.add_class(_CSS)
        bar.children = [self.whole, *bar.children]

    def paint(self) -> None:
        """Be as large as was asked for; called by the bridge alone."""
        (self._panel.remove_class if self.whole.value else self._panel.add_class)(_CSS)
