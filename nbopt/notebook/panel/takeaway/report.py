"""A run on one page: picture, settings, best values, journal. All text in it is escaped."""

from __future__ import annotations

import base64
import html
import time
from collections.abc import Iterable, Sequence

import numpy as np

from nbopt.formatting import brief, count, setting
from nbopt.i18n import _
from nbopt.notebook.panel.status import STATES, facts, journal_cells
from nbopt.run.session.steerable import Steerable

_STYLE = (
    "body{font:14px/1.45 system-ui,sans-serif;max-width:1240px;margin:24px auto;padding:0 16px;color:#212121}"
    "table{border-collapse:collapse;margin:8px 0 20px}"
    "td,th{padding:3px 16px 3px 0;text-align:left;border-bottom:1px solid #ddd;vertical-align:top}"
    "img{max-width:100%}h1{font-size:22px}h2{font-size:16px}"
)


def report(run: Steerable, svg: str) -> str:
    """Return the page: HTML that needs nothing from outside."""
    title = html.escape(run.name)
    return (
        f'<!DOCTYPE html><html><head><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style></head>'
        f"<body>{body(run, svg)}</body></html>"
    )


def body(run: Steerable, svg: str) -> str:
    """Return what stands on the page, for a cell of a notebook too."""
    told = [_(STATES[run.state]), *(f"{name} {value}" for name, value in facts(run)), run.end_reason, run.exactness]
    made = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.created))
    image = base64.b64encode(svg.encode()).decode()
    return "\n".join(
        [
            f"<h1>{html.escape(run.name)}</h1>",
            f"<p>{html.escape(' · '.join(filter(None, [*told, _('made {time}', time=made)])))}</p>",
            f'<p><img alt="{html.escape(_("Curves"))}" src="data:image/svg+xml;base64,{image}"></p>',
            _section(_("Best values"), (_("measured"), _("last"), _("lowest"), _("highest")), _values(run)),
            _section(_("Settings"), (_("setting"), _("value"), _("default")), _settings(run)),
            _section(
                _("Journal"),
                (_("step"), _("what"), _("by")),
                [journal_cells(entry, run.hyperparams.label) for entry in run.journal],
            ),
        ]
    )


def _values(run: Steerable) -> list[tuple[str, str, str, str]]:
    rows = []
    for name in run.history.names:
        steps, values = run.history[name]
        known = np.flatnonzero(np.isfinite(values))
        if len(known):
            low, high = known[values[known].argmin()], known[values[known].argmax()]
            lowest, highest = (f"{brief(float(values[at]))} @ {count(int(steps[at]))}" for at in (low, high))
            rows.append((name, brief(float(values[known[-1]])), lowest, highest))
    return rows


def _settings(run: Steerable) -> list[tuple[str, str, str]]:
    values = run.hyperparams
    return [
        (values.label(name), setting(values[name]), "" if values[name] == default else setting(default))
        for name in values
        if name in values.active
        for default in [values.spec(name).default]
    ]


def _section(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(text)}</th>" for text in heads)
    lines = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<h2>{html.escape(title)}</h2><table><tr>{head}</tr>{lines}</table>"
