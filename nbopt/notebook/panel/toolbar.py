"""The toolbar over the charts: how they are looked at, all of them alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from nbopt.i18n import N_, _
from nbopt.notebook.charts.charts import Chart
from nbopt.notebook.charts.view import View
from nbopt.notebook.frontend.widgets import WidgetFactory
from nbopt.viz.ticks import Span

UNITS = {"step": N_("step"), "epoch": N_("epoch"), "time": N_("time (s)")}
"""Of the x axis."""

FURTHEST = 1e30
"""What a zoom can reach: as much as is drawn."""

_CLOSEST = 1e-9  # the narrowest, relative to where it lies


class Toolbar:
    """Smoothing, axes and zoom of a panel's charts.

    Parameters
    ----------
    charts : list of Chart
        Those there are now and those that come.
    past : ipywidgets.Widget
        The controls of going back, which stand beside it.
    wake : callable
        Called when the charts are to be drawn anew.
    ask : callable
        Called with None when they are to follow the tail again.
    kit : Kit

    Attributes
    ----------
    view : View
    tail : ipywidgets.Button
    widget : ipywidgets.Widget
    """

    def __init__(
        self, charts: list[Chart], past: Any, wake: Callable[[], None], ask: Callable[[Any], None], kit: WidgetFactory
    ) -> None:
        self.view = View()
        self._charts = charts
        self._wake = wake
        look, units = self._look, [(_(text), unit) for unit, text in UNITS.items()]
        range_of = {"min": 0.0, "max": 0.99, "step": 0.01}
        smoothing = look("smoothing", kit, widgets.FloatSlider, description=_("Smoothing"), **range_of)
        axis = look("axis", kit, widgets.Dropdown, description="x", options=units)
        log_y = look("log_y", kit, widgets.ToggleButton, description=_("Log y"), tooltip=_("Losses on a log axis"))
        tip = _("Show the whole run as it grows; drag on a chart to zoom in")
        self.tail = kit.button("tail", _("Show all"), lambda: ask(None), tip, icon="arrows-h")
        self.widget = kit.box("toolbar", smoothing, axis, log_y, self.tail, past)

    def zoom(self, request: Any) -> bool:
        """Take a zoom from the browser, or None to follow the tail again; return whether it is one."""
        match request:
            case {"chart": int(index), "x": x, "y": y} if 0 <= index < len(self._charts) and (span := span_of(x)):
                self.view = self.view._replace(span=span)
                self._charts[index].zoom_y = span_of(y)
            case {"chart": int(index), "x": None} if 0 <= index < len(self._charts) and self.view.span is None:
                self._charts[index].fit()
            case None | {"x": None}:
                self._follow()
            case _:
                return False
        return True

    def _follow(self) -> None:
        self.view = self.view._replace(span=None)
        for chart in self._charts:
            chart.zoom_y, chart.shows_all = None, False

    def _look(self, field: str, kit: WidgetFactory, kind: type, **traits: Any) -> Any:
        """Return the control of a field of the view."""

        def changed(change: dict[str, Any]) -> None:
            if field == "axis":  # a zoomed range means nothing in another unit
                self._follow()
            if field == "log_y":  # for all losses
                for chart in self._charts:
                    chart.log = None
            self.view = self.view._replace(**{field: change["new"]})
            self._wake()

        control = kit.make(kind, css=(f"nbopt-{field.replace('_', '-')}",), value=getattr(self.view, field), **traits)
        control.observe(changed, "value")
        return control


def span_of(ends: Any) -> Span | None:
    """Return the range that the browser asks for, cut to what can be drawn; None if there is none."""
    if not isinstance(ends, list) or len(ends) != 2 or not all(isinstance(end, (int, float)) for end in ends):
        return None
    low, high = (float(min(max(end, -FURTHEST), FURTHEST)) for end in ends)
    return (low, high) if high - low > _CLOSEST * max(abs(low), abs(high), 1 / FURTHEST) else None
