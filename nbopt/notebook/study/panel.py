"""The panel of a study: all trials' curves, the best so far, their values side by side, and what a hand may do."""

from __future__ import annotations

import html
import time
import weakref
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from nbopt.errors import shorten
from nbopt.formatting import count
from nbopt.i18n import _
from nbopt.notebook.closing import close_all
from nbopt.notebook.frontend import bridge
from nbopt.notebook.frontend.widgets import WidgetFactory
from nbopt.notebook.panel import messages, status
from nbopt.notebook.panel.aside import Attempts
from nbopt.notebook.panel.drawers import Drawers
from nbopt.notebook.panel.family import paint_family, release_family
from nbopt.notebook.panel.panel import panel_of as panel_of_run
from nbopt.notebook.panel.verbs import SOURCE, Act, Buttons
from nbopt.notebook.study.board import StudyBoard
from nbopt.notebook.study.deeds import Deeds
from nbopt.notebook.study.facts import facts_of
from nbopt.notebook.study.importance import importance_drawer
from nbopt.notebook.study.still import StillStudy
from nbopt.notebook.study.takeaway import take_away_drawer
from nbopt.notebook.study.view import StudyView
from nbopt.run.session.steerable import Steerable
from nbopt.search.showing import Shown
from nbopt.training.state import RunState

_SHARE = 10  # times as long as a frame takes this thread passes to the next: what trains has the rest

_panels: weakref.WeakKeyDictionary[Shown, StudyPanel] = weakref.WeakKeyDictionary()
_below: weakref.WeakKeyDictionary[Shown, list[Steerable]] = weakref.WeakKeyDictionary()  # nobody else holds them


def panel_of(study: Shown) -> StudyPanel:
    """Return the study's panel, made on first asking."""
    if study not in _panels:
        _panels[study] = StudyPanel(study)
    return _panels[study]


class StudyVerbs(Buttons):
    """Start, pause and stop of a study; once all trials are done, the first asks for as many again."""

    def __init__(self, study: Shown, attempt: Callable[[Callable[[], Any]], None], kit: WidgetFactory) -> None:
        self._study = study
        super().__init__(study, attempt, kit)

    def _acts(self, quick: dict[str, Any]) -> dict[str, Act]:
        study = self._study
        return {
            "start": (_("Start"), "play", self._start, _("Search from here on")),
            "pause": (_("Pause"), "pause", lambda: study.pause(**quick), _("Pause all trials between two steps")),
            "stop": (_("Stop"), "stop", lambda: study.stop(**quick), _("End the study here")),
        }

    def _more(self) -> int:
        """Return how many trials there are to be if those that there were to be are done; else 0."""
        study = self._study
        if study.state is not RunState.FINISHED or study.step_count < study.total:
            return 0
        changes = (entry.old for entry in study.journal if entry.kind == "change" and entry.name == "trials")
        return study.total + int(next(changes, study.total))

    def _onward(self, state: RunState) -> str:
        if more := self._more():
            return _("+ {count} trials", count=count(more - self._study.total))
        return super()._onward(state)

    def _start(self) -> None:
        if more := self._more():
            self._study.set(trials=more, source=SOURCE)
        super()._start()


class StudyPanel:
    """The widgets of one study.

    Parameters
    ----------
    study : Shown

    Attributes
    ----------
    widget : ipywidgets.Widget
        The root, of CSS classes ``nbopt-panel`` and ``nbopt-study-panel``.
    family : ipywidgets.Widget
        The panel, and below it those of trials that go on as runs: what a cell shows.
    below : list of Steerable
        These runs, those taken out in an earlier panel of the study too.
    deeds : Deeds
    drawers : Drawers
    """

    def __init__(self, study: Shown) -> None:
        self.study = study
        self.below = _below.setdefault(study, [])
        self.attempts = Attempts(self._wake)
        self._kit = kit = WidgetFactory(self.attempts.refuse)
        self.verbs = StudyVerbs(study, self.attempts.do, kit)
        self._status, self._error, self._told, self._title, self._journal = (
            kit.make(widgets.HTML) for _part in range(5)
        )
        tip = _("List the newest acts and events")
        self._unfold = kit.toggle("unfold", _("Journal"), self._wake, tip)
        self.board = StudyBoard()
        kit.guard(self.board)
        self.view = StudyView(study, self.board)
        self.deeds = Deeds(study, self.view, self.attempts.do, self._wake, self._show_below)
        self.still = StillStudy(study, self.view)
        self.bridge = bridge.Bridge(
            study, self._paint, self._complain, self._growth, self._hear, self.board, beside=self.still.keep_up
        )
        drawers = {
            "importance": importance_drawer(study, self._wake, kit),
            "takeaway": take_away_drawer(study, self._wake),
        }
        self.drawers = Drawers(drawers, self._wake, kit)
        self.widget = self._layout()
        self.family = kit.make(widgets.VBox, [self.widget], css=("nbopt-family",))
        self.bridge.start()

    def close(self) -> None:
        """Take the panel away for good: nothing keeps it any more, nor its study."""
        _panels.pop(self.study, None)
        self.bridge.close()
        self.drawers.close()
        release_family(self, [panel_of_run(run) for run in self.below])
        close_all(self.family)

    def _layout(self) -> Any:
        box = self._kit.box
        self._title.value = status.title(self.study, ((_("Esc"), _("choose no trial")),))
        header = box("header", box("transport", *self.verbs.buttons.values()), self._status, self._title)
        told = html.escape(_("Disconnected: the kernel that searched here is gone. This is the last picture."))
        lost = self._kit.make(widgets.HTML, f'<div class="nbopt-lost">{told} {self._way_back()}</div>')
        strip = box("strip", self._error, self._told, lost)
        footer = box("footer", self.drawers.bar, self.drawers.widget, box("journal", self._unfold, self._journal))
        panel = box("panel", header, strip, box("body", self.board), footer)
        panel.add_class("nbopt-study-panel")
        return panel

    def _way_back(self) -> str:
        if self.study.record.folder is None:
            return ""
        note = html.escape(_("To go on from here, with the model and data it was made with:"))
        return f"{note} <code>nbopt.open({self.study.id!r}, ...)</code>"

    # -- what the user does, on the kernel's threads --

    def _wake(self) -> None:
        self.bridge.wake()

    def _show_below(self, run: Steerable) -> None:
        self.below.append(run)

    def _hear(self, content: Any) -> None:
        view, names = self.view, [column.axis.name for column in self.view.columns]
        match content:
            case {"choose": [*wanted]} if all(type(k) is int and 0 <= k < self.study.asked for k in wanted):
                self.deeds.chosen = tuple(sorted(set(wanted)))
            case {"by": str(name)} if name in names:
                view.by = name
            case {"x": str(name)} if name in names:
                view.x = name
            case {"y": str(name)} if name in names:
                view.y = name
            case {"log": bool(on)}:
                view.toggle_log(on)
            case _ if not self.deeds.hear(content):
                self.attempts.refuse(_("The panel does not understand {message}.", message=shorten(content)))
        self._wake()

    # -- what the study says, on the bridge's thread --

    def _paint(self) -> None:
        began, study = time.thread_time(), self.study
        trials = study.trials
        self.verbs.paint_verbs()
        self._status.value = status.facts_line(study, facts_of(study, trials))
        self._told.value = f'<span class="nbopt-device">{html.escape(self._sampler())}</span>'
        self._error.value = messages.strip(self._messages())
        self.board.acts = self.deeds.usable()
        self.board.chosen = list(self.deeds.chosen)
        self.view.paint(trials)
        self._journal.value = status.journal_list(study.journal, self._label, self._unfold.value)
        self.drawers.paint()
        self.board.ending = status.ending(study)
        paint_family(self, panel_of_run)
        if study.state is not RunState.RUNNING:
            self.still.refresh()
        self.bridge.seconds = max(bridge.FRAME_SECONDS, _SHARE * (time.thread_time() - began))

    def _label(self, name: str) -> str:
        return _("Trials") if name == "trials" else name

    def _sampler(self) -> str:
        study = self.study
        names = [each if isinstance(each, str) else type(each).__name__ for each in (study.sampler, study.pruner)]
        told = [_("sampler {name}", name=names[0])]
        if names[1] != "none":
            told.append(_("pruner {name}", name=names[1]))
        slots = study.executor.slots
        if slots > 1:
            told.append(_("up to {count} trials at once", count=slots))
        return " · ".join(told)

    def _growth(self) -> float | None:
        return 0.0 if self.study.state is RunState.RUNNING else None

    def _messages(self) -> list[messages.Message]:
        """Return what there is to say, the most urgent first."""
        return [messages.problem(self.attempts.problem), self._failure(), messages.end(self.study)]

    def _failure(self) -> messages.Message:
        raised = self.study.error
        if self.study.state is not RunState.FAILED or raised is None:
            return messages.Message("nbopt-error", "")
        advice = _("No finished trial is lost: correct it in a cell, then press Resume.")
        return messages.failure(raised, advice)

    def _complain(self, text: str) -> None:
        title = html.escape(_("The panel could not be drawn; the search is not affected."))
        trace = f"<pre>{html.escape(text)}</pre>"
        self._error.value = messages.strip([messages.Message("nbopt-error", title, trace)])
