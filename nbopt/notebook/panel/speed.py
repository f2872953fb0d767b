"""The menu that says how many steps a second a run does at most."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from nbopt.formatting import speed as speed_text
from nbopt.i18n import _
from nbopt.notebook.frontend.widgets import WidgetFactory
from nbopt.run.session.steerable import Steerable

SPEEDS = (1.0, 10.0, 100.0)
"""Steps a second that are offered, beside as fast as it goes."""


class SpeedMenu:
    """A drop-down of speeds. It only asks; what it shows is what the run says.

    Parameters
    ----------
    run : Steerable
        One that can be asked to ``pace``.
    attempt : callable
        Does what it is given, and shows what that raises.
    kit : WidgetFactory

    Attributes
    ----------
    widget : ipywidgets.Dropdown
    """

    def __init__(self, run: Steerable, attempt: Callable[[Callable[[], Any]], None], kit: WidgetFactory) -> None:
        self._run = run
        self._attempt = attempt
        tip = _("Steps a second at most, for you to follow them; the result is the same")
        self.widget = kit.make(
            _Menu, css=("nbopt-speed",), description=_("Speed"), options=_offered(run.speed), tooltip=tip
        )
        self.widget.value = _shown(run.speed)
        self.widget.chosen = self._choose

    def _choose(self, speed: float) -> None:
        def change() -> None:
            self._run.speed = None if speed == math.inf else speed

        self._attempt(change)

    def paint(self) -> None:
        """Show the speed that the run has; called by the bridge alone."""
        menu = self.widget
        with menu.lock:
            speed = self._run.speed
            if menu.value != _shown(speed):
                with menu.hold_sync():
                    if _shown(speed) not in [value for _text, value in menu.options]:
                        menu.options = _offered(speed)
                    menu.value = _shown(speed)


class _Menu(widgets.Dropdown):
    """Tells what was chosen in the browser, and nothing that is written to it from here."""

    def __init__(self, **traits: Any) -> None:
        self.lock = threading.RLock()
        self.chosen: Callable[[Any], None] = lambda _value: None
        super().__init__(**traits)

    def set_state(self, sync_data: dict[str, Any]) -> None:
        with self.lock:  # held until the run has it: what is painted meanwhile would be what it was before
            super().set_state(sync_data)
            if "index" in sync_data:
                self.chosen(self.value)


def _shown(speed: float | None) -> float:
    """Return what stands for a speed in the menu, for which None is no choice at all."""
    return math.inf if speed is None else speed


def _offered(speed: float | None) -> list[tuple[str, float]]:
    """Return what is offered, with the present speed among it."""
    speeds = sorted({*SPEEDS, *([] if speed is None else [speed])})
    rates = [(_("1 step/s") if rate == 1 else speed_text(rate), rate) for rate in speeds]
    return [*rates, (_("full speed"), math.inf)]
