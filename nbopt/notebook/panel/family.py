"""A panel, and below it those of the runs that came from it, in the same output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from nbopt.notebook.cells import CELLS
from nbopt.notebook.frontend.bridge import Bridge
from nbopt.run.session.steerable import Steerable


class Host(Protocol):
    """What has panels below it.

    Attributes
    ----------
    widget, family : ipywidgets.Widget
        The panel itself, and all of them.
    bridge : Bridge
    """

    widget: Any
    family: Any
    bridge: Bridge

    @property
    def below(self) -> list[Steerable]:
        """The runs whose panels stand below."""


class Guest(Protocol):
    """A panel that may stand below another one."""

    family: Any
    host: object
    above: Host | None

    def stand_below(self, host: Host) -> None:
        """Be a part of it from now on."""

    def close(self) -> None:
        """Take it away for good."""


def paint_family(host: Host, panel_of: Callable[[Steerable], Guest]) -> None:
    """Show the panels of the runs below; called by the host's bridge alone."""
    below = host.below
    if len(host.family.children) == len(below) + 1:
        return
    panels = [panel_of(run) for run in below]
    for panel in panels:
        if panel.host is None:
            panel.stand_below(host)
    is_new = len(host.family.children) <= len(panels) and host.bridge.is_answered
    host.family.children = [host.widget, *(panel.family for panel in panels)]
    if is_new:
        host.bridge.companion.send({"reveal": below[-1].id})


def release_family(host: Host, panels: list[Guest]) -> None:
    """Have these panels stand for themselves, and close those that nobody sees then: the host goes."""
    host.family.children = [host.widget]
    for panel in panels:
        panel.host = panel.above = None
        if not CELLS.is_shown(panel):
            panel.close()
