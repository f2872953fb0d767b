"""Live controls, generated from declarations. A control only asks; what it shows is what the run says.

Asking happens on a thread of the kernel's; showing on the bridge's, the only one that writes widgets.
"""

from __future__ import annotations

import html
import threading
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from nbopt.hyperparams import Choice, Flag, Hyperparam
from nbopt.names import InvalidHyperparam
from nbopt.notebook.route import keep_frontend_route
from nbopt.notebook.scale import stops
from nbopt.viz.marks import number
from nbopt.words import _

Ask = Callable[[str, Any], None]


class Control:
    """One hyperparameter's row: label, input, and a badge that says what became of a request.

    Parameters
    ----------
    spec : Hyperparam
    value : Any
        The live value.
    ask : callable
        ``ask(name, value)`` requests a change; may raise `InvalidHyperparam`.
    wake : callable
        Tells the bridge that there is something to show.
    """

    def __init__(self, spec: Hyperparam[Any], value: Any, ask: Ask, wake: Callable[[], None]) -> None:
        self.spec = spec
        self._ask = ask
        self._wake = wake
        self._writer: int | None = None  # the thread that writes the inputs right now
        self._shown = value
        self._requested: Any = None
        self._applied_at: int | None = None
        self._problem = ""
        self._badge = widgets.HTML()
        self._badge.add_class("nbopt-badge")
        label = widgets.HTML(
            f'<label title="{html.escape(spec.help, quote=True)}">{html.escape(spec.label or spec.name)}</label>'
        )
        label.add_class("nbopt-label")
        self.inputs = self._inputs(value)
        for item in self.inputs:
            keep_frontend_route(item)
            item.tooltip = spec.help
        self.widget = widgets.VBox(self._rows(label))
        self.widget.add_class("nbopt-control")
        self.widget.add_class(f"nbopt-hp-{spec.name}")

    def _inputs(self, value: Any) -> list[Any]:
        raise NotImplementedError

    def _rows(self, label: Any) -> list[Any]:
        """Return label and badge in one row, the inputs below."""
        return [_row("head", label, self._badge), _row("body", *self.inputs)]

    def _write(self, value: Any) -> None:
        """Show ``value`` in the inputs."""
        raise NotImplementedError

    # -- asking, on the kernel's threads --

    def _request(self, value: Any) -> None:
        if self._writer == threading.get_ident():
            return  # our own writing, not the user
        self._problem = ""
        if value != self._shown or self._requested is not None:
            self._requested = value
            try:
                self._ask(self.spec.name, value)
            except InvalidHyperparam as error:
                self._requested, self._problem = None, str(error)
        self._wake()

    # -- showing, on the bridge's thread --

    def show(self, value: Any, applied_at: int | None, waiting: bool, inert: str, active: bool) -> None:
        """Bring the row up to date.

        Parameters
        ----------
        value : Any
            The live value.
        applied_at : int or None
            The step of its newest change.
        waiting : bool
            Whether requests are still queued.
        inert : str
            Why it cannot act in this run; "" if it can.
        active : bool
            Whether it belongs to what is chosen now.
        """
        if self._requested is not None and not waiting:
            self._requested = None
        if self._requested is None and value != self._shown:
            self._shown = value
            self._problem = ""
        if self._requested is None:
            self._writer = threading.get_ident()
            self._write(value)
            self._writer = None
        self._applied_at = applied_at
        self._badge.value = self._say(inert)
        self.widget.layout.display = None if active else "none"
        for item in self.inputs:
            item.disabled = bool(inert)

    def _say(self, inert: str) -> str:
        if inert:
            return f'<span class="nbopt-inert">{html.escape(inert)}</span>'
        if self._problem:
            return f'<span class="nbopt-problem" role="alert">{html.escape(self._problem)}</span>'
        if self._requested is not None:
            return f'<span class="nbopt-requested">{html.escape(_("requested"))} {number(self._requested)}</span>'
        if self._applied_at is not None:
            return (
                f'<span class="nbopt-applied">{html.escape(_("applied at step {step}", step=self._applied_at))}</span>'
            )
        return ""


class NumberControl(Control):
    """A slider over the offered values, acting on release, and a box that takes any legal one."""

    def _inputs(self, value: Any) -> list[Any]:
        self._stops = stops(self.spec, value)
        self._slider = widgets.SelectionSlider(
            options=[(number(stop), stop) for stop in self._stops], value=value, continuous_update=False
        )
        self._box = widgets.Text(number(value), continuous_update=False)
        self._box.add_class("nbopt-box")
        self._slider.observe(lambda change: self._request(self._slider.value), "index")
        self._box.observe(lambda change: self._typed(change["new"]), "value")
        return [self._slider, self._box]

    def _typed(self, text: str) -> None:
        if text.strip() == number(self._shown):
            self._request(self._shown)  # which may not be read back to the last digit
            return
        try:
            self._request(float(text))
        except ValueError:
            self._request(text)  # the declaration says what is wrong with it

    def _write(self, value: Any) -> None:
        if value not in self._stops:
            self._stops = stops(self.spec, value)
            self._slider.options = [(number(stop), stop) for stop in self._stops]
        if self._slider.value != value:
            self._slider.value = value
        if self._box.value != number(value) and not self._problem:
            self._box.value = number(value)


class ChoiceControl(Control):
    """A drop-down."""

    def _inputs(self, value: Any) -> list[Any]:
        assert isinstance(self.spec, Choice)
        self._menu = widgets.Dropdown(options=self.spec.options, value=value)
        self._menu.observe(lambda change: self._request(change["new"]), "value")
        return [self._menu]

    def _write(self, value: Any) -> None:
        if self._menu.value != value:
            self._menu.value = value


class FlagControl(Control):
    """A check box."""

    def _inputs(self, value: Any) -> list[Any]:
        self._box = widgets.Checkbox(value, indent=False, description=self.spec.label)
        self._box.observe(lambda change: self._request(change["new"]), "value")
        return [self._box]

    def _rows(self, label: Any) -> list[Any]:
        return [_row("head", *self.inputs, self._badge)]  # the box bears the label

    def _write(self, value: Any) -> None:
        if self._box.value != value:
            self._box.value = value


def _row(css: str, *items: Any) -> Any:
    row = widgets.HBox(items)
    row.add_class(f"nbopt-control-{css}")
    return row


def make_control(spec: Hyperparam[Any], value: Any, ask: Ask, wake: Callable[[], None]) -> Control:
    """Return the control for a declaration."""
    kind = FlagControl if isinstance(spec, Flag) else ChoiceControl if isinstance(spec, Choice) else NumberControl
    return kind(spec, value, ask, wake)
