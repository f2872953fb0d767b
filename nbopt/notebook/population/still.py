"""A population's still picture: its fan as SVG and its best members, for pages where no kernel lives."""

from __future__ import annotations

import html
from typing import Any

import numpy as np

from nbopt.formatting import brief, count
from nbopt.i18n import _
from nbopt.notebook.panel.status import STATES
from nbopt.notebook.population.curves import place_of
from nbopt.notebook.population.fan import FanView, best_of, label_of
from nbopt.notebook.static_view import StillPicture
from nbopt.run.session.crowd import Crowd
from nbopt.viz.fan import spread_out
from nbopt.viz.members import MEMBER

_CURVES, _POINTS = 160, 40  # some 9 bytes each
_LISTED = 5
_WIDTH, _HEIGHT = 640, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 10, 44
_SOFT = "color:var(--jp-ui-font-color2,#616161)"
_LINE = "var(--jp-border-color2,#bbb)"
# viridis without its ends, which are lost on white or on black; see scales.js.
_SHADES = ("#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39")


class StillFan(StillPicture):
    """The still picture of one population.

    Parameters
    ----------
    population : Crowd
    view : FanView
    """

    def __init__(self, population: Crowd, view: FanView) -> None:
        def moment() -> tuple[Any, ...]:
            return population.state, population.step_count, len(population.journal)

        super().__init__(
            f"nbopt-population-{population.id}", moment, lambda: draw_still(population, view), lambda: repr(population)
        )


def draw_still(population: Crowd, view: FanView) -> str:
    """Return the picture as HTML; its length does not depend on how many members there are, or steps."""
    told = [
        f"<b>{html.escape(population.name[:200])}</b> · {html.escape(_(STATES[population.state]))} · "
        + html.escape(
            _("{count} members, step {step}", count=count(len(population)), step=count(population.step_count))
        ),
        html.escape(population.end_reason[:500]),
    ]
    text = "".join(f'<div style="{_SOFT if row else ""}">{line}</div>' for row, line in enumerate(told) if line)
    shown = text + _fan(view) + _list(population, view)
    return f'<div class="nbopt-still" style="font-size:13px;padding:8px 0">{shown}</div>'


def _fan(view: FanView) -> str:
    trait, fan = view.trait, view.fan
    rows = spread_out(trait.places, _CURVES)
    at, heights = fan.curves(rows)
    if not len(at) or not np.isfinite(heights).any():
        return ""
    low, high = view.reach(heights)
    span = max(1.0, float(at[-1]))
    parts = []
    for place, label in view.ticks(low, high):
        y = _up(place)
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="{_LINE}" stroke-opacity=".5"/>')
        parts.append(_text(_LEFT - 6, y + 4, "end", label))
    parts.append(_text(_LEFT, _HEIGHT - _BOTTOM + 16, "start", "0"))
    parts.append(_text(_WIDTH - _RIGHT, _HEIGHT - _BOTTOM + 16, "end", _("step {step}", step=count(span))))
    keep = np.unique(np.linspace(0, len(at) - 1, min(_POINTS, len(at))).astype(int))
    across = _LEFT + at[keep] / span * (_WIDTH - _LEFT - _RIGHT)
    for row, curve in zip(rows, heights, strict=True):
        place = place_of(curve[keep], low, high, view.log)
        known = np.isfinite(place)
        if known.sum() > 1:
            line = "L".join(
                f"{x:.0f} {_up(min(1, max(0, y))):.0f}" for x, y in zip(across[known], place[known], strict=True)
            )
            parts.append(f'<path d="M{line}" stroke="{_shade(float(trait.places[row]))}"/>')
    width = (_WIDTH - _LEFT - _RIGHT) / len(_SHADES)
    for k, shade in enumerate(_SHADES):
        x = _LEFT + k * width
        parts.append(
            f'<rect x="{x:.1f}" y="{_HEIGHT - 24}" width="{width:.1f}" height="6" fill="{shade}" stroke="none"/>'
        )
    for place, label in trait.ticks:
        parts.append(_text(_LEFT + place * (_WIDTH - _LEFT - _RIGHT), _HEIGHT - 6, "middle", label))
    title = _("{metric} by step, coloured by {name}", metric=label_of(view.metric), name=trait.label)
    picture = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" '
        f'style="max-width:100%" role="img" aria-label="{html.escape(title, quote=True)}" fill="none" stroke-width="1">'
        f"{''.join(parts)}</svg>"
    )
    return f'<div style="margin:6px 0 0"><b>{html.escape(title)}</b></div>{picture}'


def _list(population: Crowd, view: FanView) -> str:
    """Return the best members and their values."""
    ranked = sorted((member for member in population if best_of(member) == best_of(member)), key=best_of)[:_LISTED]
    traits = [trait for trait in view.traits if trait.name != MEMBER][:6]
    lines = []
    for member in ranked:
        k = member.number
        own = [f"{trait.label} {trait.text(k)}" for trait in traits]
        lines.append(" · ".join([_("member {number}: val loss {loss}", number=k, loss=brief(best_of(member))), *own]))
    return "".join(f'<div style="{_SOFT}">{html.escape(line[:300])}</div>' for line in lines)


def _up(place: float) -> float:
    return _HEIGHT - _BOTTOM - place * (_HEIGHT - _TOP - _BOTTOM)


def _shade(place: float) -> str:
    return _SHADES[min(len(_SHADES) - 1, int(place * len(_SHADES)))]


def _text(x: float, y: float, anchor: str, text: str) -> str:
    style = 'font-size="11" fill="var(--jp-ui-font-color2,#616161)" stroke="none"'
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {style}>{html.escape(text)}</text>'
