"""All charts of a panel as one SVG: as they are looked at, on white, with their names, and nothing from outside."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from nbopt.formatting import brief, count
from nbopt.i18n import N_, _
from nbopt.notebook.charts.charts import Chart
from nbopt.notebook.charts.colours import TRAIN, VAL
from nbopt.notebook.charts.view import Ghost, View
from nbopt.record.history import History
from nbopt.viz.curves import Curve, curve, whole_span
from nbopt.viz.ticks import LEAST, Span, extent, linear_ticks, log_ticks

_WIDTH, _HEIGHT = 620, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 14, 40, 40
_HEAD = 30
_INK, _SOFT, _LINE = "#212121", "#5f5f5f", "#dddddd"
_UNITS = {"step": N_("step"), "epoch": N_("epoch"), "time": N_("time (s)")}
_FURTHEST = 1e30


class _Drawn(NamedTuple):
    curve: Curve
    colour: str
    label: str
    opacity: float


def picture(name: str, history: History, charts: Sequence[Chart], view: View, ghosts: Sequence[Ghost] = ()) -> str:
    """Return the charts as SVG, two in a row.

    Parameters
    ----------
    name : str
        What stands above them.
    history : History
    charts : sequence of Chart
    view : View
    ghosts : sequence of Ghost
    """
    drawn = [chart for chart in charts if any(key in history for key in chart.names)]
    across = min(2, max(1, len(drawn)))
    rows = -(-len(drawn) // across)
    width, height = _WIDTH * across, _HEAD + _HEIGHT * max(1, rows)
    names = [key for chart in drawn for key in chart.names]
    histories = [history, *(ghost.history for ghost in ghosts)]
    spans = [whole_span(one, names, view.axis) for one in histories if "loss" in one] or [(0.0, 1.0)]
    span = view.span or (min(low for low, _high in spans), max(high for _low, high in spans))
    parts = []
    for place, chart in enumerate(drawn):
        at = f"translate({place % across * _WIDTH} {_HEAD + place // across * _HEIGHT})"
        parts.append(f'<g transform="{at}">{_chart(chart, history, view, span, ghosts)}</g>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#ffffff"/>'
        f"{_text(_LEFT, 22, name, 'start', 15, _INK)}{''.join(parts)}</svg>"
    )


def _chart(chart: Chart, history: History, view: View, span: Span, ghosts: Sequence[Ghost]) -> str:
    smoothing = chart.smoothing(view)
    drawn = [
        _Drawn(curve(ghost.history, key, view.axis, view.span, smoothing), ghost.colour, label, ghost.opacity * faint)
        for ghost in ghosts
        for key, label, faint in zip(chart.names, ("", ghost.label), (0.3, 0.8), strict=True)
    ]
    pair = zip(chart.names, (TRAIN, VAL), (_("training"), _("validation")), strict=True)
    drawn += [
        _Drawn(curve(history, key, view.axis, view.span, smoothing), colour, label, 1.0) for key, colour, label in pair
    ]
    log = (view.log_y if chart.log is None else chart.log) and chart.is_loss
    log = log and any((one.curve.smooth_y > LEAST).any() for one in drawn)
    low, high = extent([np.clip(one.curve.smooth_y, -_FURTHEST, _FURTHEST) for one in drawn], log)

    def x_of(x: Any) -> Any:
        return _LEFT + (np.asarray(x, float) - span[0]) / (span[1] - span[0]) * (_WIDTH - _LEFT - _RIGHT)

    def y_of(y: Any) -> Any:
        ends, values = np.array([low, high], float), np.asarray(y, float)
        if log:
            with np.errstate(divide="ignore", invalid="ignore"):
                ends, values = np.log(ends), np.log(np.where(values > LEAST, values, np.nan))
        return _HEIGHT - _BOTTOM - (values - ends[0]) / (ends[1] - ends[0]) * (_HEIGHT - _TOP - _BOTTOM)

    parts = []
    for value in log_ticks(low, high, 6) if log else linear_ticks(low, high, 6):
        at = float(y_of(value))
        parts.append(f'<path d="M{_LEFT} {at:.1f}H{_WIDTH - _RIGHT}" stroke="{_LINE}"/>')
        parts.append(_text(_LEFT - 6, at + 4, brief(value), "end"))
    for value in linear_ticks(*span, 7):
        parts.append(_text(float(x_of(value)), _HEIGHT - _BOTTOM + 16, count(value) if span[1] > 10 else brief(value)))
    parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 6, _(_UNITS[view.axis])))
    parts.append(f'<path d="M{_LEFT} {_TOP}V{_HEIGHT - _BOTTOM}H{_WIDTH - _RIGHT}" stroke="{_SOFT}" fill="none"/>')
    parts += [_path(one, x_of, y_of, span) for one in drawn]
    return "".join(parts) + _legend(chart.title, drawn)


def _path(one: _Drawn, x_of: Callable[[Any], Any], y_of: Callable[[Any], Any], span: Span) -> str:
    x, y = one.curve.smooth_x, y_of(np.clip(one.curve.smooth_y, -_FURTHEST, _FURTHEST))
    known = np.isfinite(y) & (x >= span[0]) & (x <= span[1])
    if not known.any():
        return ""
    points = "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x_of(x[known]), y[known], strict=True))
    style = f'stroke="{one.colour}" stroke-opacity="{one.opacity:.2f}" stroke-width="1.8" fill="none"'
    return f'<path d="M{points}" {style}/>'


def _legend(title: str, drawn: Sequence[_Drawn]) -> str:
    parts = [f'<tspan font-weight="bold" fill="{_INK}">{html.escape(title)}</tspan>']
    for one in drawn:
        known = one.curve.smooth_y[np.isfinite(one.curve.smooth_y)]
        if one.label and len(known):
            text = html.escape(f"{one.label} {brief(float(known[-1]))}")
            parts.append(f'<tspan dx="12" fill="{one.colour}">— {text}</tspan>')
    return f'<text x="{_LEFT}" y="24">{"".join(parts)}</text>'


def _text(x: float, y: float, text: str, anchor: str = "middle", size: int = 11, fill: str = _SOFT) -> str:
    style = f'text-anchor="{anchor}" font-size="{size}" fill="{fill}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{html.escape(text)}</text>'
