"""Live controls, generated from declarations. A control only asks; what it shows is what the run says.

Asking happens on a thread of the kernel's, when a message of the browser's arrives; showing on the bridge's, the only
one that writes widgets. A control's lock keeps the two apart: traitlets knows no threads.
"""

from __future__ import annotations

import html
import threading
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets
from traitlets import TraitError

from nbopt.formatting import count, number
from nbopt.hyperparams import Choice, Flag, Hyperparam
from nbopt.i18n import _
from nbopt.notebook.charts.scale import stops, with_value
from nbopt.notebook.frontend.subshells import keep_frontend_route
from nbopt.notebook.frontend.widgets import WidgetFactory
from nbopt.notebook.panel.typed import ROOM, read

GONE = "nbopt-gone"
"""The CSS class of what is not to be seen."""

LONG = "nbopt-long"
"""The CSS class of a control whose value needs more room than most."""

Ask = Callable[[str, Any], None]


class _Heard:
    """An input that says when the user moved it: by `set_state`, where a browser's messages arrive and nothing else.

    What is written to it from here never looks like a wish of the user's.
    """

    def listen(self, trait: str, lock: threading.RLock, heard: Callable[[], None]) -> None:
        """Call ``heard``, under ``lock``, whenever the browser sends ``trait``."""
        keep_frontend_route(self)
        self._trait, self.lock, self._hear = trait, lock, heard

    def set_state(self, sync_data: dict[str, Any]) -> None:
        with self.lock:
            try:
                super().set_state(sync_data)  # type: ignore[misc]
            except TraitError:  # a choice that is no more, made before the browser knew
                self.send_state(list(sync_data))  # type: ignore[attr-defined]
                return
            if self._trait in sync_data:
                self._hear()


class _Slider(_Heard, widgets.SelectionSlider):
    pass


class _Text(_Heard, widgets.Text):
    pass


class _Menu(_Heard, widgets.Dropdown):
    pass


class _Box(_Heard, widgets.Checkbox):
    pass


class Control:
    """One hyperparameter's row: label, input, and a badge that says what became of a request.

    Parameters
    ----------
    spec : Hyperparam
    value : Any
        The live value.
    ask : callable
        ``ask(name, value)`` requests a change; what it raises is told in the badge.
    wake : callable
        Tells the bridge that there is something to show.
    kit : Kit

    Attributes
    ----------
    widget : ipywidgets.Box
    head : ipywidgets.HTML
        Label and badge.
    inputs : list of ipywidgets.Widget
    lock : threading.RLock
        Held while a request is made. Hold it from reading the run until `show` returns: otherwise a request made
        meanwhile would be overwritten by what the run was before.
    """

    def __init__(
        self, spec: Hyperparam[Any], value: Any, ask: Ask, wake: Callable[[], None], kit: WidgetFactory
    ) -> None:
        self.spec = spec
        self._ask = ask
        self._wake = wake
        self._kit = kit
        self.lock = threading.RLock()
        self._shown = value
        self._requested: Any = None
        self._applied_at: int | None = None
        self._problem = ""
        self.inputs = self._inputs(value)
        self._label = self._make_label()
        self.head = kit.make(widgets.HTML, self._titled(""), css=("nbopt-head",))
        classes = ("nbopt-control", f"nbopt-hp-{spec.name}")
        self.widget = kit.make(widgets.Box, [self.head, *self.inputs], css=classes)

    def _inputs(self, value: Any) -> list[Any]:
        raise NotImplementedError

    def _make_label(self) -> str:
        text, tip = self.spec.title, html.escape(self.spec.help, quote=True)
        return f'<label class="nbopt-label" title="{tip}">{html.escape(text)}</label>'

    def _write(self, value: Any) -> None:
        """Show ``value`` in the inputs."""
        raise NotImplementedError

    # -- asking, on the kernel's threads --

    def _request(self, value: Any) -> None:
        self._requested, self._problem = value, ""
        try:
            self._ask(self.spec.name, value)
        except Exception as error:  # nobody would see it
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
            Whether a value asked for does not act yet.
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
            self._write(value)
        self._applied_at = applied_at
        self.head.value = self._titled(self._say(inert))
        if active:
            self.widget.remove_class(GONE)
        else:
            self.widget.add_class(GONE)
        for item in self.inputs:
            item.disabled = bool(inert)

    def _titled(self, badge: str) -> str:
        return f'{self._label}<span class="nbopt-badge">{badge}</span>'

    def _say(self, inert: str) -> str:
        if inert:
            return f'<span class="nbopt-inert" title="{html.escape(inert)}">{html.escape(inert)}</span>'
        if self._problem:
            return f'<span class="nbopt-problem" role="alert">{html.escape(self._problem)}</span>'
        if self._requested is not None:
            text = _("requested {value}", value=number(self._requested))
            return f'<span class="nbopt-requested">{html.escape(text)}</span>'
        if self._applied_at is not None:
            text = _("applied at step {step}", step=count(self._applied_at))
            return f'<span class="nbopt-applied">{html.escape(text)}</span>'
        return ""


class NumberControl(Control):
    """A slider over the offered values, acting on release, and a box that takes any legal one."""

    def _inputs(self, value: Any) -> list[Any]:
        self._offered = stops(self.spec, value)
        self._narrow = len(self._offered)
        self._stops = self._offered
        offered = _labelled(self._stops)
        tip = self.spec.help
        self._slider = self._kit.make(_Slider, options=offered, value=value, continuous_update=False, tooltip=tip)
        self._slider.listen("index", self.lock, lambda: self._request(self._slider.value))
        self._box = self._kit.make(_Text, number(value), css=("nbopt-box",), continuous_update=False, tooltip=tip)
        self._box.listen("value", self.lock, self._typed)
        return [self._slider, self._box]

    def _typed(self) -> None:
        text = self._box.value.strip()
        # What is shown may not be read back to the last digit.
        self._request(self._shown if text == number(self._shown) else read(text, self.spec))

    def widen(self, *values: Any) -> None:
        """Have the slider reach up to all of ``values``."""
        if (top := max(values, default=self._offered[-1])) > self._offered[-1]:
            self._offered = [*self._offered[: self._narrow], top]

    def _write(self, value: Any) -> None:
        self.widen(value)
        wanted = with_value(self._offered, value)
        if wanted != self._stops or self._slider.value != value:
            with self._slider.hold_sync():  # new options alone would send the slider to its first one
                if wanted != self._stops:
                    self._stops = wanted
                    self._slider.options = _labelled(wanted)
                self._slider.index = wanted.index(value)
        text = number(value)
        if len(text) > ROOM:
            self.widget.add_class(LONG)
        else:
            self.widget.remove_class(LONG)
        if self._box.value != text and not self._problem:
            self._box.value = text


def _labelled(values: list[Any]) -> list[tuple[str, Any]]:
    return [(number(value), value) for value in values]


class ChoiceControl(Control):
    """A drop-down."""

    def _inputs(self, value: Any) -> list[Any]:
        assert isinstance(self.spec, Choice)
        self._menu = self._kit.make(_Menu, options=self.spec.options, value=value, tooltip=self.spec.help)
        self._menu.listen("index", self.lock, lambda: self._request(self._menu.value))
        return [self._menu]

    def _write(self, value: Any) -> None:
        if self._menu.value != value:
            self._menu.value = value


class FlagControl(Control):
    """A check box."""

    def _inputs(self, value: Any) -> list[Any]:
        label = self.spec.title
        self._box = self._kit.make(_Box, value, indent=False, description=label, tooltip=self.spec.help)
        self._box.listen("value", self.lock, lambda: self._request(self._box.value))
        return [self._box]

    def _make_label(self) -> str:
        return ""  # the box bears it

    def _write(self, value: Any) -> None:
        if self._box.value != value:
            self._box.value = value


def make_control(
    spec: Hyperparam[Any], value: Any, ask: Ask, wake: Callable[[], None], kit: WidgetFactory | None = None
) -> Control:
    """Return the control for a declaration."""
    kind = FlagControl if isinstance(spec, Flag) else ChoiceControl if isinstance(spec, Choice) else NumberControl
    return kind(spec, value, ask, wake, kit or WidgetFactory())
