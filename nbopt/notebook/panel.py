"""The live panel of a run: buttons, controls, curves. One panel per run; shown twice, it is two views of the same."""

from __future__ import annotations

import html
import weakref
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets
import numpy as np

from nbopt.engine.run import Run, live_runs
from nbopt.engine.state import RunState
from nbopt.notebook import status
from nbopt.notebook.beacon import Beacon
from nbopt.notebook.bridge import Bridge
from nbopt.notebook.charts import Chart, Span, View
from nbopt.notebook.controls import Control, make_control
from nbopt.notebook.route import keep_frontend_route
from nbopt.viz.curves import to_axis, whole_span
from nbopt.viz.marks import Marks
from nbopt.words import _

_TITLES = {"r2": "R²", "mae": "MAE", "rmse": "RMSE"}  # of metrics that are not called by a word
_UNITS = {"step": _("step"), "epoch": _("epoch"), "time": _("time (s)")}
_FURTHEST = 1e30  # of what a zoom can reach: as much as is drawn
_CLOSEST = 1e-9  # the narrowest, relative to where it lies

_beacon = Beacon(live_runs)
_panels: weakref.WeakKeyDictionary[Run, Panel] = weakref.WeakKeyDictionary()


def panel_of(run: Run) -> Panel:
    """Return the run's panel, made on first asking."""
    if run not in _panels:
        _panels[run] = Panel(run)
    return _panels[run]


def mimebundle(run: Run) -> dict[str, Any]:
    """Return what the notebook shows for a run."""
    announce(run)
    bundle: dict[str, Any] = panel_of(run).widget._repr_mimebundle_()
    return {**bundle, "text/plain": repr(run)}


def announce(run: Run) -> None:
    """Tell JupyterLab's status bar of the run, now and whenever it changes."""
    if _beacon.wake not in run.watchers:
        run.watch(_beacon.wake)
    _beacon.ensure_open()


class Panel:
    """The widgets of one run.

    Attributes
    ----------
    widget : ipywidgets.Widget
        The root, of CSS class ``nbopt-panel``.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self._view = View()
        self._marks = Marks(run.journal)
        self._problem = ""
        self._buttons = {
            "start": self._button(_("Start"), "play", self._start, _("Train, or go on from here")),
            "pause": self._button(
                _("Pause"), "pause", lambda: run.pause(wait=False, source="panel"), _("Rest after this step")
            ),
            "step": self._button(
                _("Step"), "step-forward", lambda: run.step(wait=False, source="panel"), _("Do one step")
            ),
            "stop": self._button(
                _("Stop"), "stop", lambda: run.stop(wait=False, source="panel"), _("End the run here")
            ),
        }
        for name, button in self._buttons.items():
            button.add_class(f"nbopt-{name}")
        self._status, self._error, self._device, self._journal = (widgets.HTML() for _part in range(4))
        self._unfold = widgets.ToggleButton(
            False, description=_("Journal"), tooltip=_("List the newest changes and events")
        )
        keep_frontend_route(self._unfold)
        self._unfold.observe(lambda _change: self._wake(), "value")
        self.controls = {
            name: make_control(run.hyperparams.spec(name), value, self._ask, self._wake)
            for name, value in run.hyperparams.items()
        }
        self.charts = [
            Chart("loss", _("Loss")),
            *(Chart(name, _TITLES.get(name) or name.replace("_", " ").capitalize()) for name in run.metrics),
        ]
        self.bridge = Bridge(run, self._paint, self._complain, self._zoom)
        self.bridge.companion.labels = {name: control.spec.label for name, control in self.controls.items()}
        self.bridge.companion.charts = [
            {
                "lines": chart.curves.model_id,
                "names": [_("training"), _("validation")],
                "label": _("{name} against training progress", name=chart.name),
            }
            for chart in self.charts
        ]
        self.widget = self._layout()
        self.bridge.start()

    # -- layout --

    def _layout(self) -> Any:
        def box(name: str, *children: Any) -> Any:
            item = widgets.Box(children)
            item.add_class(f"nbopt-{name}")
            return item

        transport = box("transport", *self._buttons.values())
        name = widgets.HTML(f'<span class="nbopt-name">{html.escape(self.run.name)}</span>')
        header = box("header", transport, self._status, name)
        body = box(
            "body",
            box("controls", *self._groups()),
            box("right", self._toolbar(), box("charts", *(chart.widget for chart in self.charts))),
        )
        footer = box("footer", self._device, box("journal", self._unfold, self._journal))
        return box("panel", header, self._error, body, footer, self.bridge.companion)

    def _groups(self) -> list[Any]:
        groups: dict[str, list[Control]] = {}
        for control in self.controls.values():
            groups.setdefault(control.spec.group, []).append(control)
        boxes = []
        for title, members in groups.items():
            head = widgets.HTML(f'<div class="nbopt-group-title">{html.escape(title)}</div>')
            group = widgets.VBox([head, *(control.widget for control in members)])
            group.add_class("nbopt-group")
            boxes.append(group)
        return boxes

    def _toolbar(self) -> Any:
        smoothing = widgets.FloatSlider(self._view.smoothing, min=0.0, max=0.99, step=0.01, description=_("Smoothing"))
        log_y = widgets.ToggleButton(False, description=_("Log y"), tooltip=_("Logarithmic y axis"))
        axis = widgets.Dropdown(options=[(text, unit) for unit, text in _UNITS.items()], description="x")
        self._tail = self._button(
            _("Follow"),
            "arrows-h",
            lambda: self._zoom(None),
            _("Show all and follow the tail; drag on a chart to zoom in"),
        )
        self._look(smoothing, "smoothing", "smoothing")
        self._look(log_y, "log_y", "log-y")
        self._look(axis, "axis", "axis")
        bar = widgets.HBox([smoothing, axis, log_y, self._tail])
        bar.add_class("nbopt-toolbar")
        return bar

    def _look(self, control: Any, field: str, css: str) -> None:
        def changed(change: dict[str, Any]) -> None:
            new = {field: change["new"]}
            if field == "axis":  # a zoomed range means nothing in another unit
                new["span"] = None
                for chart in self.charts:
                    chart.zoom_y = None
            self._view = self._view._replace(**new)
            self._wake()

        keep_frontend_route(control)
        control.add_class(f"nbopt-{css}")
        control.observe(changed, "value")

    def _button(self, text: str, icon: str, act: Callable[[], None], tooltip: str) -> Any:
        button = widgets.Button(description=text, icon=icon, tooltip=tooltip)
        keep_frontend_route(button)
        button.on_click(lambda _button: self._try(act))
        return button

    # -- what the user does, on the kernel's threads --

    def _try(self, act: Callable[[], None]) -> None:
        """Act; an exception here would be seen by nobody, so it goes to the error box."""
        self._problem = ""
        try:
            act()
        except Exception as error:
            self._problem = str(error)
        self._wake()

    def _start(self) -> None:
        self.run.start(wait=False, source="panel")

    def _ask(self, name: str, value: Any) -> None:
        self._problem = ""
        self.run.set(source="panel", **{name: value})

    def _wake(self) -> None:
        self.bridge.wake()

    def _zoom(self, request: Any) -> None:
        """Take a zoom from the browser, or None to follow the tail again."""
        match request:
            case {"chart": int(index), "x": x, "y": y} if 0 <= index < len(self.charts) and (span := _span(x)):
                self._view = self._view._replace(span=span)
                self.charts[index].zoom_y = _span(y)
            case None | {"x": None}:
                self._view = self._view._replace(span=None)
                for chart in self.charts:
                    chart.zoom_y = None
        self._wake()

    # -- what the run says, on the bridge's thread --

    def _paint(self) -> None:
        run = self.run
        state, view = run.state, self._view  # which others may change meanwhile
        self._status.value = status.status_line(run)
        self._device.value = status.device_line(run)
        self._error.value = self._messages()
        self._buttons["start"].disabled = state is RunState.RUNNING
        self._buttons["start"].description = _("Start") if state is RunState.CREATED else _("Resume")
        self._buttons["pause"].disabled = state is not RunState.RUNNING
        self._buttons["stop"].disabled = state not in (RunState.RUNNING, RunState.PAUSED)
        self._buttons["step"].disabled = state is RunState.RUNNING
        self._tail.disabled = view.span is None
        self._marks.refresh()
        self._paint_controls()
        at = to_axis(run.history, np.array([mark.step for mark in self._marks.marks], float), view.axis)
        names = [name for chart in self.charts for name in chart.names]
        span = view.span or whole_span(run.history, names, view.axis)
        for chart in self.charts:
            chart.draw(run.history, view, span, self._marks.marks, at)
        self._journal.value = status.journal_list(run.journal, self._unfold.value)
        companion = self.bridge.companion
        companion.marks = [tick._asdict() for tick in self.charts[0].ticks]
        companion.unit = _UNITS[view.axis]
        companion.whole = view.axis == "step"

    def _messages(self) -> str:
        problem = f'<div class="nbopt-error" role="alert">{html.escape(self._problem)}</div>' if self._problem else ""
        return problem + status.error_box(self.run) + status.end_line(self.run)

    def _complain(self, text: str) -> None:
        title = html.escape(_("The panel could not be drawn; training is not affected."))
        self._error.value = f'<div class="nbopt-error" role="alert">{title}<pre>{html.escape(text)}</pre></div>'

    def _paint_controls(self) -> None:
        run = self.run
        active = run.hyperparams.active
        for name, control in self.controls.items():
            with control.lock:
                waiting = name in run.pending  # before the value: what is no longer waiting is in it
                step = self._marks.applied.get(name)
                control.show(run.hyperparams[name], step, waiting, run.inert.get(name, ""), name in active)


def _span(ends: Any) -> Span | None:
    """Return the range that the browser asks for, cut to what can be drawn; None if there is none."""
    if not isinstance(ends, list) or len(ends) != 2 or not all(isinstance(end, (int, float)) for end in ends):
        return None
    low, high = (float(min(max(end, -_FURTHEST), _FURTHEST)) for end in ends)
    return (low, high) if high - low > _CLOSEST * max(abs(low), abs(high), 1 / _FURTHEST) else None
