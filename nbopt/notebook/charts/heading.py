"""What stands above a chart: its title, and the names of its curves with what they show now."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np

from nbopt.formatting import brief
from nbopt.i18n import _
from nbopt.notebook.charts.colours import PAST, TRAIN, VAL
from nbopt.notebook.charts.view import Ghost
from nbopt.viz.curves import Curve


def heading(
    title: str,
    labels: tuple[str, str],
    pair: Sequence[Curve],
    ghosts: Sequence[Ghost],
    others: Sequence[Curve],
    has_past: bool,
) -> str:
    """Return the line above a chart as HTML.

    Parameters
    ----------
    title : str
    labels : (str, str)
        What training's and validation's curve are called.
    pair : sequence of Curve
        The two of them.
    ghosts : sequence of Ghost
    others : sequence of Curve
        The two curves of each ghost, one after the other.
    has_past : bool
        Whether it shows what a rewind gave up.
    """
    name = html.escape(title)
    text = f'<span class="nbopt-title" title="{name}">{name}</span>'
    for part, colour, label in zip(pair, (TRAIN, VAL), labels, strict=True):
        if len(part.x):
            bold = float(part.smooth_y[-1])  # what the bold line shows
            text += _key(colour, label, f" <b>{brief(bold if np.isfinite(bold) else part.last)}</b>")
    for ghost, training, validation in zip(ghosts, others[::2], others[1::2], strict=True):
        value = _newest(validation if len(validation.x) else training)
        text += _key(ghost.colour, ghost.label, f" <b>{value}</b>" * bool(value)) if ghost.label else ""
    return text + _key(PAST, _("before the rewind")).replace("nbopt-key", "nbopt-key nbopt-key-past") * has_past


def _newest(part: Curve) -> str:
    """Return what a smoothed line shows last."""
    known = part.smooth_y[np.isfinite(part.smooth_y)]
    return brief(float(known[-1])) if len(known) else ""


def _key(colour: str, label: str, more: str = "") -> str:
    name = f'<span title="{html.escape(label, quote=True)}">{html.escape(label)}</span>'
    return f'<span class="nbopt-key" style="--nbopt-colour:{colour}">{name}{more}</span>'
