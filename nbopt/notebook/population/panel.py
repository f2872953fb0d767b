"""The panel of a population: best so far, members as curves, points and rows, and controls of those chosen."""

from __future__ import annotations

import html
import time
import weakref
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from nbopt.errors import shorten
from nbopt.i18n import _
from nbopt.notebook.closing import close_all
from nbopt.notebook.frontend import bridge
from nbopt.notebook.frontend.widgets import WidgetFactory
from nbopt.notebook.panel import messages, status
from nbopt.notebook.panel.aside import Attempts
from nbopt.notebook.panel.column import Column
from nbopt.notebook.panel.controls import Ask, Control
from nbopt.notebook.panel.family import paint_family, release_family
from nbopt.notebook.panel.on_demand import Controls
from nbopt.notebook.panel.panel import panel_of as panel_of_run
from nbopt.notebook.panel.verbs import Verbs
from nbopt.notebook.population.actions import Actions
from nbopt.notebook.population.chosen import ByHandOfMany, Chosen, numbers_in
from nbopt.notebook.population.facts import device_line, facts_of
from nbopt.notebook.population.fan import Board, FanView
from nbopt.notebook.population.looks import Looks
from nbopt.notebook.population.still import StillFan
from nbopt.run.session.crowd import Crowd
from nbopt.run.session.steerable import Steerable
from nbopt.training.state import RunState

_TELL_SECONDS = 0.4  # between two words of the header while it trains, at least
_SHARE = 10  # times as long as a frame takes this thread passes to the next: what trains has the rest

_panels: weakref.WeakKeyDictionary[Crowd, PopulationPanel] = weakref.WeakKeyDictionary()
_below: weakref.WeakKeyDictionary[Crowd, list[Steerable]] = weakref.WeakKeyDictionary()  # nobody else holds them


def panel_of(population: Crowd) -> PopulationPanel:
    """Return the population's panel, made on first asking."""
    if population not in _panels:
        _panels[population] = PopulationPanel(population)
    return _panels[population]


class MemberControls(Controls):
    """Controls of several members, which say where these differ."""

    def __init__(self, chosen: Chosen, ask: Ask, wake: Callable[[], None], kit: WidgetFactory) -> None:
        self._chosen = chosen
        super().__init__(chosen, chosen, ask, wake, kit)

    def _show(self, control: Control, active: set[str]) -> None:
        control.varies = self._chosen.varies(control.spec.name)
        super()._show(control, active)


class PopulationPanel:
    """The widgets of one population.

    Parameters
    ----------
    population : Crowd

    Attributes
    ----------
    widget : ipywidgets.Widget
        The root, of CSS classes ``nbopt-panel`` and ``nbopt-population``.
    family : ipywidgets.Widget
        The panel, and below it those of members that go on as runs: what a cell shows.
    below : list of Steerable
        These runs, those taken out in an earlier panel of the population too.
    chosen : Chosen
    controls : Controls
    """

    def __init__(self, population: Crowd) -> None:
        self.population = population
        self.below = _below.setdefault(population, [])
        self.attempts = Attempts(self._wake)
        self._tell_at = 0.0
        self._kit = kit = WidgetFactory(self.attempts.refuse)
        self.chosen = Chosen(population)
        self.looks = Looks(population)
        self.verbs = Verbs(population, self.attempts.do, kit, population[0].journal)
        texts = [kit.make(widgets.HTML) for _part in range(5)]
        self._status, self._error, self._device, self._title, self._journal = texts
        tip = _("List the newest changes and events")
        self._unfold = kit.toggle("unfold", _("Journal"), self._wake, tip)
        self.by_hand = ByHandOfMany(self.chosen)
        self.controls = MemberControls(self.chosen, self._ask, self._wake, kit)
        self.column = Column(self.chosen, self.controls, self.by_hand, self.attempts.do, self._wake, kit)
        self.actions = Actions(self.chosen, self.attempts.do, self._wake, self._show_below, kit)
        self.board = Board(log=_("log"), **self.column.page())
        kit.guard(self.board)
        self.fan = FanView(population, self.board)
        self.still = StillFan(population, self.fan)
        self.bridge = bridge.Bridge(
            population, self._paint, self._complain, self._growth, self._hear, self.board, beside=self.still.keep_up
        )
        self.widget = self._layout()
        self.family = kit.make(widgets.VBox, [self.widget], css=("nbopt-family",))
        self.bridge.start()

    def close(self) -> None:
        """Take the panel away for good: nothing keeps it any more, nor its population."""
        _panels.pop(self.population, None)
        self.bridge.close()
        release_family(self, [panel_of_run(run) for run in self.below])
        close_all(self.family, *(control.widget for control in self.controls.made.values()))

    # -- layout --

    def _layout(self) -> Any:
        box = self._kit.box
        self._title.value = status.title(self.population, ((_("Esc"), _("choose all members")),))
        header = box("header", box("transport", *self.verbs.buttons.values()), self._status, self._title)
        told = html.escape(
            _("Disconnected: the kernel that trained this population is gone. This is the last picture.")
        )
        lost = self._kit.make(widgets.HTML, f'<div class="nbopt-lost">{told}</div>')
        strip = box("strip", self._error, box("guard"), box("guard"), self._device, lost)
        self.column.widget.children = [self.actions.widget, *self.column.widget.children]
        body = box("body", self.column.widget, box("right", self.board))
        footer = box("footer", box("journal", self._unfold, self._journal))
        panel = box("panel", header, strip, body, footer)
        panel.add_class("nbopt-population")
        return panel

    # -- what the user does, on the kernel's threads --

    def _ask(self, name: str, value: Any) -> None:
        self.attempts.problem = ""
        self.by_hand.set(**{name: value})

    def _wake(self) -> None:
        self.bridge.wake()

    def _show_below(self, run: Steerable) -> None:
        self.below.append(run)

    def _hear(self, content: Any) -> None:
        fan = self.fan
        match content:
            case _ if self.column.hear(content):
                return
            case {"choose": [*wanted]} if (numbers := numbers_in(wanted, len(self.population))) is not None:
                self.choose(numbers)
            case {"by": str(name)} if name in [trait.name for trait in fan.traits]:
                fan.by = name
            case {"metric": str(name)} if name in fan.metrics:
                fan.metric = name
            case {"log": bool(on)}:
                fan.toggle_log(on)
            case _:
                self.attempts.refuse(_("The panel does not understand {message}.", message=shorten(content)))
        self._wake()

    def choose(self, numbers: tuple[int, ...]) -> None:
        """Have controls and buttons act on these members from now on; on all, if there are none."""
        if numbers != self.chosen.numbers:
            self.chosen.numbers = numbers
            for control in [*self.controls.made.values()]:
                control.restore()
        self._wake()

    # -- what the population says, on the bridge's thread --

    def _paint(self) -> None:
        began, now, population = time.thread_time(), time.monotonic(), self.population
        self.verbs.paint_verbs()
        if population.state is not RunState.RUNNING or now > self._tell_at:
            self._status.value = status.facts_line(population, facts_of(population))
            told = time.thread_time() - began  # each fact asks all members
            self._tell_at = now + max(_TELL_SECONDS, _SHARE * told)
        self._device.value = device_line(population)
        self._error.value = messages.strip(self._messages())
        numbers = list(self.chosen.numbers)
        if (is_due := self.looks.is_due()) or numbers != self.board.chosen:
            self.chosen.refresh()
        if is_due:
            self.fan.find_traits()
        self.board.chosen = numbers
        self.actions.paint()
        self.column.paint()
        self.controls.paint()
        self.fan.paint()
        label = self.chosen.hyperparams.label
        self._journal.value = status.journal_list(population.journal, label, self._unfold.value)
        self.board.undo = self.by_hand.undoable
        self.board.ending = status.ending(population)
        paint_family(self, panel_of_run)
        if population.state is not RunState.RUNNING:
            self.still.refresh()
        self.bridge.seconds = max(bridge.FRAME_SECONDS, _SHARE * (time.thread_time() - began))

    def _growth(self) -> float | None:
        return 0.0 if self.population.state is RunState.RUNNING else None

    def _messages(self) -> list[messages.Message]:
        """Return what there is to say, the most urgent first."""
        return [messages.problem(self.attempts.problem), messages.error(self.population), messages.end(self.population)]

    def _complain(self, text: str) -> None:
        title = html.escape(_("The panel could not be drawn; training is not affected."))
        trace = f"<pre>{html.escape(text)}</pre>"
        self._error.value = messages.strip([messages.Message("nbopt-error", title, trace)])
