"""The buttons that have something train: start, pause, step, stop."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from nbopt.formatting import count
from nbopt.i18n import _
from nbopt.notebook.frontend.widgets import WidgetFactory
from nbopt.record.journal import Journal
from nbopt.run.session.operable import Driven, Operable
from nbopt.training.state import RunState

SOURCE = "panel"

Act = tuple[str, str, Callable[[], Any], str]
"""What a button says, its icon, what it does, and its tooltip."""


class Buttons:
    """The buttons of whatever is started, paused and stopped.

    Parameters
    ----------
    driven : Driven
    attempt : callable
        Does what it is given, and shows what that raises.
    kit : WidgetFactory

    Attributes
    ----------
    buttons : dict of str to ipywidgets.Button
        By the name that stands in their CSS class.
    """

    def __init__(self, driven: Driven, attempt: Callable[[Callable[[], Any]], None], kit: WidgetFactory) -> None:
        self._driven = driven
        self._attempt = attempt
        self.buttons = self._make(kit, self._acts({"wait": False, "source": SOURCE}))

    def paint_verbs(self, is_away: bool = False) -> None:
        """Bring the buttons up to date; with ``is_away``, none can be pressed."""
        state = self._driven.state
        running = state is RunState.RUNNING
        usable = {
            "start": not running,
            "pause": running,
            "step": not running,
            "stop": running or state is RunState.PAUSED,
        }
        for name in usable.keys() & self.buttons.keys():
            self.buttons[name].disabled = is_away or not usable[name]
        if "start" in self.buttons:
            self.buttons["start"].description = self._onward(state)

    def _acts(self, quick: dict[str, Any]) -> dict[str, Act]:
        """Return what there are buttons for; ``quick`` are arguments of an act that is not waited for."""
        raise NotImplementedError

    def _make(self, kit: WidgetFactory, acts: Mapping[str, Act]) -> dict[str, Any]:
        """Return the buttons of what can be done."""
        return {
            name: kit.button(name, text, partial(self._attempt, act), tip, icon=icon)
            for name, (text, icon, act, tip) in acts.items()
            if name in self._driven.abilities
        }

    def _onward(self, state: RunState) -> str:
        """Return what the first button says: what it does."""
        return _("Start") if state is RunState.CREATED else _("Resume")

    def _start(self) -> None:
        self._driven.start(wait=False, source=SOURCE)


class Verbs(Buttons):
    """The buttons of a run or of a population, without those that it cannot do.

    Parameters
    ----------
    run : Operable
    attempt, kit
        As for `Buttons`.
    changes : Journal, optional
        Where changes of its length stand, if that is not its own journal.
    """

    def __init__(
        self,
        run: Operable,
        attempt: Callable[[Callable[[], Any]], None],
        kit: WidgetFactory,
        changes: Journal | None = None,
    ) -> None:
        self._trained = run
        self._changes = run.journal if changes is None else changes
        super().__init__(run, attempt, kit)

    def _acts(self, quick: dict[str, Any]) -> dict[str, Act]:
        run = self._trained
        return {
            "start": (_("Start"), "play", self._start, _("Train from here on")),
            "pause": (_("Pause"), "pause", lambda: run.pause(**quick), _("Pause after this step")),
            "step": (_("Step"), "step-forward", lambda: run.step(**quick), _("Train for one step")),
            "stop": (_("Stop"), "stop", lambda: run.stop(**quick), _("End the run here")),
        }

    def _onward(self, state: RunState) -> str:
        if more := find_more(self._trained, self._changes):
            [(name, end)] = more.items()
            text = count(end - self._trained.hyperparams[name])
            return _("+ {count} steps", count=text) if name == "steps" else _("+ {count} epochs", count=text)
        return super()._onward(state)

    def _start(self) -> None:
        if more := find_more(self._trained, self._changes):
            self._trained.set(source=SOURCE, **more)
        super()._start()


def find_more(run: Operable, journal: Journal) -> dict[str, int]:
    """Return the change by which a run that has all its length behind it becomes longer by as much as it first had."""
    plan = run.plan
    if run.state is not RunState.FINISHED or not plan.has_end or not plan.is_over(run.step_count, run.epoch):
        return {}
    name = "steps" if plan.steps else "epochs"
    changes = (entry.old for entry in journal if entry.kind == "change" and entry.name == name)
    now = run.hyperparams[name]
    first = next(changes, now)
    return {name: now + (first if 0 < first < math.inf else now)}
