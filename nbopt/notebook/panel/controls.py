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

from nbopt.formatting import count, number
from nbopt.hyperparams import Choice, Flag, Hyperparam
from nbopt.hyperparams import Text as Words
from nbopt.i18n import _
from nbopt.notebook.charts.scale import stops, with_value
from nbopt.notebook.frontend.widgets import WidgetFactory
from nbopt.notebook.panel.head import Told, write_head
from nbopt.notebook.panel.inputs import Box, Menu, Slider, Text
from nbopt.notebook.panel.typed import ROOM, read

GONE = "nbopt-gone"
"""The CSS class of what belongs to nothing chosen now: seen only where it is searched for."""

IDLE = "nbopt-idle"
"""The CSS class of what cannot act in this run: the reason stands in the place of its inputs."""

LONG = "nbopt-long"
"""The CSS class of a control whose value needs more room than most."""

Ask = Callable[[str, Any], None]


class Control:
    """One hyperparameter's row: its head, and below it the input.

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
        See `write_head`.
    inputs : list of ipywidgets.Widget
    varies : str
        From where to where the value goes, if several are shown that do not have the same one; ``""`` else.
    slope : tuple of str, or None
        See `Told`.
    lock : threading.RLock
        Held while a request is made. Hold it from reading the run until `show` returns: otherwise a request made
        meanwhile would be overwritten by what the run was before.
    """

    _named = True  # its name stands above, and not beside the input

    def __init__(
        self, spec: Hyperparam[Any], value: Any, ask: Ask, wake: Callable[[], None], kit: WidgetFactory
    ) -> None:
        self.spec = spec
        self._ask = ask
        self._wake = wake
        self._kit = kit
        self.lock = threading.RLock()
        self.varies = ""
        self.slope: tuple[str, str] | None = None
        self._shown = value
        self._requested: Any = None
        self._applied_at: int | None = None
        self._problem = ""
        self._drawn: tuple[Any, ...] = ()  # what the row was last made of
        self.inputs = self._inputs(value)
        self.head = kit.make(widgets.HTML, css=("nbopt-head",))
        classes = ("nbopt-control", f"nbopt-hp-{spec.name}")
        self.widget = kit.make(widgets.Box, [self.head, *self.inputs], css=classes)

    def _inputs(self, value: Any) -> list[Any]:
        raise NotImplementedError

    def _write(self, value: Any) -> None:
        """Show ``value`` in the inputs."""
        raise NotImplementedError

    @property
    def _ends(self) -> tuple[str, str] | None:
        """What stands at the ends of a slider."""
        return None

    # -- asking, on the kernel's threads --

    def ask(self, value: Any) -> None:
        """Request ``value``, as if it had been put in."""
        with self.lock:
            self._request(value)

    def restore(self) -> None:
        """Have the inputs show the live value again, whatever was typed."""
        with self.lock:
            self._problem = ""
        self._wake()

    def _request(self, value: Any) -> None:
        self._requested, self._problem = value, ""
        try:
            self._ask(self.spec.name, value)
        except Exception as error:  # nobody would see it
            self._requested, self._problem = None, str(error)
        self._wake()

    # -- showing, on the bridge's thread --

    def show(
        self, value: Any, applied_at: int | None, waiting: bool, inert: str, active: bool, default: Any, why: str
    ) -> None:
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
        default : Any
            The value that it would have if nobody had given one.
        why : str
            Why it does not act, be it for good or as things stand; "" if it does.
        """
        given = (value, applied_at, waiting, inert, active, default, why, self.varies, self.slope)
        if (*given, self._requested, self._problem) == self._drawn:  # as most are, in most frames
            return
        if self._requested is not None and not waiting:
            self._requested = None
        if self._requested is None and value != self._shown:
            self._shown = value
            self._problem = ""
        if self._requested is None:
            self._write(value)
        self._applied_at = applied_at
        idle = bool(inert) or not active
        shown = html.escape(self.varies or number(value)) if self._named else ""
        badge = f"<span>{shown}</span>" if idle else self._say()
        told = Told(badge, why, default, value != default, self.slope)
        self.head.value = write_head(self.spec, self._named, told, self._ends if self.spec.rank else None)
        self._mark(GONE, not active)
        self._mark(IDLE, idle)
        for item in self.inputs:
            item.disabled = idle
        self._drawn = (*given, self._requested, self._problem)

    def _mark(self, css: str, on: bool) -> None:
        if on:
            self.widget.add_class(css)
        else:
            self.widget.remove_class(css)

    def _say(self) -> str:
        if self._problem:
            return f'<span class="nbopt-problem" role="alert">{html.escape(self._problem)}</span>'
        if self._requested is not None:
            text = _("requested {value}", value=number(self._requested))
            return f'<span class="nbopt-requested" title="{html.escape(text, quote=True)}">{html.escape(text)}</span>'
        if self.varies:
            return f'<span class="nbopt-range">{html.escape(self.varies)}</span>'
        if self._applied_at is not None:
            text = _("applied at step {step}", step=count(self._applied_at))
            return f'<span class="nbopt-applied" title="{html.escape(text, quote=True)}">{html.escape(text)}</span>'
        if self._ends and not self.spec.rank:
            text = _("{low} to {high}", low=self._ends[0], high=self._ends[1])
            return f'<span class="nbopt-range">{html.escape(text)}</span>'
        return ""


class NumberControl(Control):
    """A slider over the offered values, acting on release, and a box that takes any legal one."""

    def _inputs(self, value: Any) -> list[Any]:
        self._offered = stops(self.spec, value)
        self._differed = False
        self._narrow = len(self._offered)
        self._stops = self._offered
        offered = _labelled(self._stops)
        tip = self.spec.help
        self._slider = self._kit.make(Slider, options=offered, value=value, continuous_update=False, tooltip=tip)
        self._slider.listen("index", self.lock, lambda: self._request(self._slider.value))
        self._box = self._kit.make(Text, number(value), css=("nbopt-box",), continuous_update=False, tooltip=tip)
        self._box.listen("value", self.lock, self._typed)
        return [self._slider, self._box]

    def _typed(self) -> None:
        text = self._box.value.strip()
        # What is shown may not be read back to the last digit.
        self._request(self._shown if text == number(self._shown) else read(text, self.spec))

    @property
    def offered(self) -> list[Any]:
        """The values that the slider has, in order."""
        return self._stops

    def widen(self, *values: Any) -> None:
        """Have the slider reach up to all of ``values``."""
        if (top := max(values, default=self._offered[-1])) > self._offered[-1]:
            self._offered = [*self._offered[: self._narrow], top]
            self._drawn = ()

    @property
    def _ends(self) -> tuple[str, str]:
        return number(self._offered[0]), number(self._offered[-1])

    def _write(self, value: Any) -> None:
        self.widen(value)
        wanted = with_value(self._offered, value)
        if wanted != self._stops or self._slider.value != value:
            with self._slider.hold_sync():  # new options alone would send the slider to its first one
                if wanted != self._stops:
                    self._stops = wanted
                    self._slider.options = _labelled(wanted)
                self._slider.index = wanted.index(value)
        text = "" if self.varies else number(value)
        if self.varies or self._differed:
            self._box.placeholder = _("differ") if self.varies else ""
            self._differed = bool(self.varies)
        self._mark(LONG, len(text) > ROOM)
        if self._box.value != text and not self._problem:
            self._box.value = text


def _labelled(values: list[Any]) -> list[tuple[str, Any]]:
    return [(number(value), value) for value in values]


class ChoiceControl(Control):
    """A drop-down."""

    def _inputs(self, value: Any) -> list[Any]:
        assert isinstance(self.spec, Choice)
        self._menu = self._kit.make(Menu, options=self.spec.options, value=value, tooltip=self.spec.help)
        self._menu.listen("index", self.lock, lambda: self._request(self._menu.value))
        return [self._menu]

    def _write(self, value: Any) -> None:
        if self._menu.value != value:
            self._menu.value = value


class FlagControl(Control):
    """A check box."""

    _named = False

    def _inputs(self, value: Any) -> list[Any]:
        label = self.spec.title
        self._box = self._kit.make(Box, value, indent=False, description=label, tooltip=self.spec.help)
        self._box.listen("value", self.lock, lambda: self._request(self._box.value))
        return [self._box]

    def _write(self, value: Any) -> None:
        if self._box.value != value:
            self._box.value = value


class TextControl(Control):
    """A box for words."""

    def _inputs(self, value: Any) -> list[Any]:
        self._box = self._kit.make(Text, value, continuous_update=False, tooltip=self.spec.help)
        self._box.listen("value", self.lock, lambda: self._request(self._box.value))
        return [self._box]

    _write = FlagControl._write


def make_control(
    spec: Hyperparam[Any], value: Any, ask: Ask, wake: Callable[[], None], kit: WidgetFactory | None = None
) -> Control:
    """Return the control for a declaration."""
    kinds = {Flag: FlagControl, Choice: ChoiceControl, Words: TextControl}
    kind = next((kinds[base] for base in kinds if isinstance(spec, base)), NumberControl)
    return kind(spec, value, ask, wake, kit or WidgetFactory())
