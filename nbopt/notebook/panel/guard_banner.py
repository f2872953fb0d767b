"""What the guard did, told until somebody has read it: what exploded, where the run went back to, with what rate."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from nbopt.formatting import count, number
from nbopt.i18n import _
from nbopt.notebook.frontend.widgets import WidgetFactory
from nbopt.notebook.panel.messages import Message
from nbopt.record.journal import Entry
from nbopt.run.session.steerable import Steerable
from nbopt.techniques.catalogue import known_of, values_off
from nbopt.training.snapshots.recovery import SOURCE as GUARD
from nbopt.training.state import RunState

_SOURCE = "panel"
_RATE = "lr"
_HOOK = "find_trouble"  # of the techniques that send a run back
_OPENED = "open"  # what was before that was told then


class Retreat(NamedTuple):
    """A divergence that was put right.

    Attributes
    ----------
    text : str
        What went wrong, and when.
    step : int
        Where the run went back to.
    mine, now : float
        The learning rate that somebody had asked for, and the one that acts since.
    """

    text: str
    step: int
    mine: float
    now: float


def find_retreat(entries: Sequence[Entry], since: int) -> Retreat | None:
    """Return the last retreat among the entries from number ``since`` on; None if there is none."""
    at = next((k for k in range(len(entries) - 1, since - 1, -1) if entries[k].name == "diverged"), None)
    if at is None or entries[at].source != GUARD:
        return None
    after = entries[at + 1 :]
    back = next((entry for entry in after if entry.name == "rewind" and entry.source == GUARD), None)
    cut = next((entry for entry in after if entry.name == _RATE and entry.source == GUARD), None)
    if back is None or cut is None:  # it is on its way
        return None
    asked: list[Entry] = []
    for entry in entries[:at]:
        if entry.name == "rewind":
            asked = [other for other in asked if other.step < entry.new or entry.source == GUARD]
        elif entry.kind == "change" and entry.name == _RATE and entry.source != GUARD:
            asked.append(entry)
    return Retreat(entries[at].new, back.new, asked[-1].new if asked else cut.old, cut.new)


class GuardBanner:
    """The banner of a panel, with its buttons, which are made when they are first needed.

    Parameters
    ----------
    run : Steerable
    attempt : callable
        Does what it is given, and shows what that raises.
    kit : WidgetFactory

    Attributes
    ----------
    widget : ipywidgets.Box
        The buttons.
    """

    def __init__(self, run: Steerable, attempt: Callable[[Callable[[], Any]], None], kit: WidgetFactory) -> None:
        self._run = run
        self._attempt = attempt
        self._kit = kit
        self._known = 0  # entries of the journal that were looked at
        self._since = 0  # ... and those of which nothing is to be told any more
        self._retreat: Retreat | None = None
        self.widget = kit.box("guard")

    def paint(self) -> Message:
        """Return what there is to say, and show the buttons if there is; called by the bridge alone."""
        journal = self._run.journal
        if len(journal) != self._known:
            entries = journal[:]
            self._known = len(entries)
            begun = [k for k in range(self._since, len(entries)) if entries[k].name == _OPENED]
            self._since = max([self._since, *begun])
            self._retreat = find_retreat(entries, self._since)
        found = self._retreat
        if found is None or self._run.state is RunState.FAILED:
            self.widget.children = []
            return Message("nbopt-guarded", "")
        if not self.widget.children:
            self.widget.children = self._buttons()
        self.widget.children[0].description = _("Keep {rate}", rate=number(found.mine))
        said = _(
            "Diverged: {what}. The guard went back to step {step}; learning rate {mine} → {now}.",
            what=found.text,
            step=count(found.step),
            mine=number(found.mine),
            now=number(found.now),
        )
        return Message("nbopt-guarded", html.escape(said))

    def _buttons(self) -> list[Any]:
        buttons = [
            ("keep", "", _("Put the learning rate back to what it was"), self._keep),
            ("turn-off", _("Turn guard off"), _("Train on, whatever the loss is"), self._turn_off),
            ("dismiss", _("Dismiss"), _("Take this message away"), self._dismiss),
        ]
        return [self._kit.button(name, text, partial(self._attempt, act), tip) for name, text, tip, act in buttons]

    def _keep(self) -> None:
        if self._retreat is not None:
            self._run.set(source=_SOURCE, **{_RATE: self._retreat.mine})
        self._dismiss()

    def _turn_off(self) -> None:
        off = values_off(known_of(self._run.techniques), _HOOK)
        self._run.set(source=_SOURCE, **{name: value for name, value in off.items() if name in self._run.hyperparams})
        self._dismiss()

    def _dismiss(self) -> None:
        self._since, self._known = len(self._run.journal), 0
