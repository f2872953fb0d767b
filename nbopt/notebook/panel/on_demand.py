"""The controls of a run, each made when it is first needed.

A control is four widgets or five, and each widget a message that a page waits for. So the start of a panel costs what
stands open, however much the catalogue has.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from nbopt.hyperparams import Strategy
from nbopt.notebook.frontend.widgets import WidgetFactory
from nbopt.notebook.panel.controls import Ask, Control, NumberControl, make_control
from nbopt.notebook.panel.head import reason_not_to_act
from nbopt.notebook.panel.offer import Offer
from nbopt.run.session.operable import Adjustable


class Applied(Protocol):
    """What says at which step each hyperparameter was changed last, in the order of these changes."""

    @property
    def applied(self) -> Mapping[str, int]:
        """Steps by name."""


class Controls(Mapping[str, Control]):
    """The controls of a run by name; looking one up makes it, and its group's are made with the next frame.

    Parameters
    ----------
    run : Adjustable
    marks : Applied
    ask : callable
        ``ask(name, value)`` requests a change.
    wake : callable
        Tells the bridge that there is something to show.
    kit : Kit

    Attributes
    ----------
    made : dict of str to Control
        Those that were made so far.
    find_slope : callable
        Returns the arrow beside a control's name, see `nbopt.notebook.panel.head.Told`.
    """

    def __init__(self, run: Adjustable, marks: Applied, ask: Ask, wake: Callable[[], None], kit: WidgetFactory) -> None:
        self.made: dict[str, Control] = {}
        self._offers: dict[str, Offer] = {}
        self.find_slope: Callable[[str], tuple[str, str] | None] = lambda _name: None
        self._run = run
        self._marks = marks
        self._ask = ask
        self._wake = wake
        self._kit = kit
        # What was the case when the panel began: whether made then or later, a slider offers the same.
        self._first, self._read = dict(run.hyperparams), len(run.journal)
        self._changed_to: defaultdict[str, list[Any]] = defaultdict(list)
        self._lock = threading.Lock()  # a cell may look one up while the bridge opens a group

    def __getitem__(self, name: str) -> Control:
        if (found := self.made.get(name)) is not None:
            return found
        control = self.make(name)
        self._wake()
        return control

    def __iter__(self) -> Iterator[str]:
        return iter(self._first)

    def __len__(self) -> int:
        return len(self._first)

    def __contains__(self, name: object) -> bool:
        return name in self._first

    def make(self, name: str) -> Control:
        """Return the control of ``name``, as the run stands now, made if it was not yet."""
        spec = self._run.hyperparams.spec(name)
        with self._lock:
            self._catch_up()
            if name not in self.made:
                control = make_control(spec, self._first[name], self._ask, self._wake, self._kit)
                if isinstance(control, NumberControl):
                    control.widen(*self._changed_to[name])
                if isinstance(spec, Strategy) and any(kind.usual for kind in spec.classes.values()):
                    self._offers[name] = Offer(spec, lambda name, value: self[name].ask(value), self._kit)
                    control.widget.children = [*control.widget.children, self._offers[name].button]
                self._show(control, self._run.hyperparams.active)
                self.made[name] = control
            return self.made[name]

    def _catch_up(self) -> None:
        """Have the sliders reach up to what was changed since: a value may have come and gone between two frames."""
        entries = self._run.journal[self._read :]
        self._read += len(entries)
        for entry in entries:
            if entry.kind == "change":
                self._changed_to[entry.name].append(entry.new)
                if isinstance(control := self.made.get(entry.name), NumberControl):
                    control.widen(entry.new)

    def paint(self) -> None:
        """Bring those made up to date; called by the bridge alone."""
        with self._lock:
            self._catch_up()
            made = [*self.made.values()]
        active = self._run.hyperparams.active
        for control in made:
            self._show(control, active)

    def _show(self, control: Control, active: set[str]) -> None:
        run, name = self._run, control.spec.name
        control.slope = self.find_slope(name)
        with control.lock:
            waiting = name in run.pending  # before the value: what is no longer waiting is in it
            step = self._marks.applied.get(name)
            inert, values = run.inert.get(name, ""), run.hyperparams
            why = reason_not_to_act(name, values, run.inert)
            control.show(values[name], step, waiting, inert, name in active, values.default(name), why)
        if name in self._offers:
            self._offers[name].show(values, self._marks.applied)
