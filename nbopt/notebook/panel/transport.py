"""The row of buttons: start, pause, step, stop; and going back or branching off, at the best or at a point picked."""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import ipywidgets as widgets

from nbopt.formatting import count
from nbopt.i18n import _
from nbopt.notebook.frontend.widgets import WidgetFactory
from nbopt.notebook.panel.speed import SpeedMenu
from nbopt.run.steerable import Steerable
from nbopt.training.state import RunState

SOURCE = "panel"

_branches: weakref.WeakKeyDictionary[Steerable, list[Steerable]] = weakref.WeakKeyDictionary()  # nobody else holds them


class Transport:
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
    speed : SpeedMenu or None
        How fast it goes, where it can be asked.
    branches : list of Steerable
        The runs branched off here, in an earlier panel of the run too.
    """

    def __init__(
        self, run: Steerable, attempt: Callable[[Callable[[], Any]], None], wake: Callable[[], None], kit: WidgetFactory
    ) -> None:
        self.branches = _branches.setdefault(run, [])
        self._run = run
        self._attempt = attempt
        self._wake = wake
        self._is_away = False
        quick: dict[str, Any] = {"wait": False, "source": SOURCE}
        acts: dict[str, tuple[str, str, Callable[[], Any], str]] = {
            "start": (_("Start"), "play", self._start, _("Train from here on")),
            "pause": (_("Pause"), "pause", lambda: run.pause(**quick), _("Pause after this step")),
            "step": (_("Step"), "step-forward", lambda: run.step(**quick), _("Train for one step")),
            "stop": (_("Stop"), "stop", lambda: run.stop(**quick), _("End the run here")),
            "rewind": (_("Rewind"), "history", lambda: self._apart(self._rewind), _("Take this run back to that step")),
            "branch": (
                _("Branch"),
                "code-fork",
                lambda: self._apart(self._branch),
                _("Continue from that step in a second run"),
            ),
        }
        self.buttons = {
            name: kit.button(name, text, partial(attempt, act), tip, icon=icon)
            for name, (text, icon, act, tip) in acts.items()
            if name in run.abilities
        }
        self.target = kit.make(
            widgets.Text,
            css=("nbopt-target",),
            description=_("at step"),
            tooltip=_("Click on a curve to pick a step, or type one; if empty, the best step"),
            continuous_update=False,
        )
        self.target.observe(lambda _change: wake(), "value")
        back = [name for name in ("rewind", "branch") if name in self.buttons]
        self.speed = SpeedMenu(run, attempt, kit) if "pace" in run.abilities else None
        row = [button for name, button in self.buttons.items() if name not in back]
        self.widget = kit.box("transport", *row, *([] if self.speed is None else [self.speed.widget]))
        self.past = kit.box("past", *(self.buttons[name] for name in back), *([self.target] if back else []))

    @property
    def step(self) -> int | None:
        """The step to go to; None for the best one, or if what was typed is no step."""
        text = self.target.value.replace(",", "").strip()
        return int(text) if text.isdecimal() and text.isascii() and len(text) < 19 else None

    def paint(self) -> None:
        """Bring the buttons up to date; called by the bridge alone."""
        run, state = self._run, self._run.state
        running = state is RunState.RUNNING
        usable = {
            "start": not running,
            "pause": running,
            "step": not running,
            "stop": running or state is RunState.PAUSED,
            "rewind": run.step_count > 0,
            "branch": run.step_count > 0,
        }
        for name, button in self.buttons.items():
            button.disabled = self._is_away or not usable[name]
        if "start" in self.buttons:
            self.buttons["start"].description = self._onward(state)
        if self.speed is not None:
            self.speed.paint()
        self.target.placeholder = _("best") if run.snapshots.best is not None else "0"

    def _onward(self, state: RunState) -> str:
        """Return what the first button says: what it does."""
        if more := find_more(self._run):
            [(name, end)] = more.items()
            text = count(end - self._run.hyperparams[name])
            return _("+ {count} steps", count=text) if name == "steps" else _("+ {count} epochs", count=text)
        return _("Start") if state is RunState.CREATED else _("Resume")

    def _start(self) -> None:
        if more := find_more(self._run):
            self._run.set(source=SOURCE, **more)
        self._run.start(wait=False, source=SOURCE)

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

    def _apart(self, act: Callable[[], None]) -> None:
        """Do it in a thread of its own: steps may have to be done again, and the next click is not to wait."""
        if self._is_away:
            return
        self._is_away = True

        def work() -> None:
            try:
                self._attempt(act)
            finally:
                self._is_away = False
                self._wake()

        threading.Thread(target=work, name=f"nbopt going back {self._run.name}", daemon=True).start()


def find_more(run: Steerable) -> dict[str, int]:
    """Return the change by which a run that has all its length behind it becomes longer by as much as it first had."""
    plan = run.plan
    if run.state is not RunState.FINISHED or not plan.has_end or not plan.is_over(run.step_count, run.epoch):
        return {}
    name = "steps" if plan.steps else "epochs"
    changes = (entry.old for entry in run.journal if entry.kind == "change" and entry.name == name)
    now = run.hyperparams[name]
    first = next(changes, now)
    return {name: now + (first if 0 < first < math.inf else now)}
