"""The panel's words: what state a population is in, at a glance."""

from __future__ import annotations

import html

from nbopt.formatting import brief, count, duration, speed
from nbopt.i18n import _
from nbopt.notebook.panel.status import NONE
from nbopt.notebook.population.fan import best_of
from nbopt.run.session.crowd import Crowd
from nbopt.training.state import RunState


def facts_of(population: Crowd) -> list[tuple[str, str, str]]:
    """Return what stands in the header, the most telling first: CSS class, name and value."""
    best, plan, running = population.best, population.plan, population.state is RunState.RUNNING
    rate, left = population.steps_per_second, population.seconds_left
    going = sum(not member.state.is_ended for member in population)
    return [
        (
            "best",
            _("best val loss"),
            NONE if best is None else f"{brief(best_of(best))} @ {count(best.stopping.best_step)}",
        ),
        ("members", _("going on"), _("{going} of {count}", going=count(going), count=count(len(population)))),
        ("epoch", _("epoch"), f"{population.epoch}{plan.of_epochs.replace('/', ' / ')}"),
        ("step", _("step"), count(population.step_count) + (f" / {count(plan.steps)}" if plan.steps else "")),
        ("speed", _("speed"), speed(rate) if running and rate else NONE),
        ("left", _("left"), duration(left) if running and left is not None else NONE),
    ]


def device_line(population: Crowd) -> str:
    """Return how the population trains, as HTML."""
    text = population.tier[:1].upper() + population.tier[1:]
    return f'<span class="nbopt-device">{html.escape(text)}</span>'
