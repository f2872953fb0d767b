"""The row of buttons: start, pause, step, stop; and going back or branching off, at the best or at a point picked."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import ipywidgets as widgets

from nbopt.i18n import _
from nbopt.notebook.frontend.widgets import WidgetFactory
from nbopt.notebook.panel.aside import Aside
from nbopt.notebook.panel.speed import SpeedMenu
from nbopt.notebook.panel.verbs import SOURCE, Act, Verbs
from nbopt.run.session.steerable import Steerable

_branches: weakref.WeakKeyDictionary[Steerable, list[Steerable]] = weakref.WeakKeyDictionary()  # nobody else holds them


class Transport(Verbs):
    """The buttons of one run.

    Parameters
    ----------
    run : Steerable
    attempt : callable
        Does what it is given, and shows what that raises.
    wake : callable
        Tells the bridge that there is something to show.
    kit : Kit

    Attributes
    ----------
    widget : ipywidgets.Box
        Start, pause, step, stop, and how fast.
    past : ipywidgets.Box
        Rewind and branch, and where.
    buttons : dict of str to ipywidgets.Button
        By the name that stands in their CSS class.
    target : ipywidgets.Text
        The step to go to; empty for the best one.
    aside : Aside
        Goes back: steps may have to be done again.
    speed : SpeedMenu or None
        How fast it goes, where it can be asked.
    branches : list of Steerable
        The runs branched off here, in an earlier panel of the run too.
    """

    def __init__(
        self, run: Steerable, attempt: Callable[[Callable[[], Any]], None], wake: Callable[[], None], kit: WidgetFactory
    ) -> None:
        super().__init__(run, attempt, kit)
        self.branches = _branches.setdefault(run, [])
        self._run = run
        self.aside = aside = Aside(f"nbopt going back {run.name}", attempt, wake)
        back: dict[str, Act] = {
            "rewind": (_("Rewind"), "history", partial(aside.do, self._rewind), _("Take this run back to that step")),
            "branch": (
                _("Branch"),
                "code-fork",
                partial(aside.do, self._branch),
                _("Continue from that step in a second run"),
            ),
        }
        row = [*self.buttons.values()]
        past = self._make(kit, back)
        self.buttons |= past
        self.target = kit.make(
            widgets.Text,
            css=("nbopt-target",),
            description=_("at step"),
            tooltip=_("Click on a curve to pick a step, or type one; if empty, the best step"),
            continuous_update=False,
        )
        self.target.observe(lambda _change: wake(), "value")
        self.speed = SpeedMenu(run, attempt, kit) if "pace" in run.abilities else None
        self.widget = kit.box("transport", *row, *([] if self.speed is None else [self.speed.widget]))
        self.past = kit.box("past", *past.values(), *([self.target] if past else []))

    @property
    def step(self) -> int | None:
        """The step to go to; None for the best one, or if what was typed is no step."""
        text = self.target.value.replace(",", "").strip()
        return int(text) if text.isdecimal() and text.isascii() and len(text) < 19 else None

    def paint(self) -> None:
        """Bring the buttons up to date; called by the bridge alone."""
        self.paint_verbs(self.aside.is_busy)
        for name in self.buttons.keys() & {"rewind", "branch"}:
            self.buttons[name].disabled = self.aside.is_busy or not self._run.step_count
        if self.speed is not None:
            self.speed.paint()
        self.target.placeholder = _("best") if self._run.snapshots.best is not None else "0"

    def _rewind(self) -> None:
        self._run.rewind(self._aim(), source=SOURCE)
        self.target.value = ""

    def _branch(self) -> None:
        self.branches.append(self._run.branch(self._aim(), source=SOURCE))

    def _aim(self) -> int | str:
        text = self.target.value.strip()
        if not text:
            return "best" if self._run.snapshots.best is not None else 0
        return text if self.step is None else self.step
