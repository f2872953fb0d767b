"""How charts are looked at, and what they show beside their own curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from nbopt.notebook.charts.lines import Floats
from nbopt.notebook.charts.overlay import Best
from nbopt.record.history import History
from nbopt.viz.marks import Mark
from nbopt.viz.ticks import Span


class View(NamedTuple):
    """How the charts are looked at: shared by all charts of a panel.

    Attributes
    ----------
    axis : {"step", "epoch", "time"}
    smoothing : float
    log_y : bool
        Of the losses, where a chart does not say otherwise.
    span : (low, high) or None
        The zoomed range of x; None follows the tail.
    """

    axis: str = "step"
    smoothing: float = 0.6
    log_y: bool = False
    span: Span | None = None


class Ghost(NamedTuple):
    """Another run, drawn beside this one.

    Attributes
    ----------
    label : str
        "" for lines without a name, as those around a mean.
    history : History
    colour : str
    opacity : float
    """

    label: str
    history: History
    colour: str
    opacity: float = 1.0


class Scene(NamedTuple):
    """What all charts of a panel show beside their own curves, in the unit of the x axis.

    Attributes
    ----------
    span : (low, high)
        The range of x to show.
    marks : sequence of Mark
    at : ndarray
        Where each mark stands.
    ghosts : sequence of Ghost
    past : History or None
        What a rewind gave up.
    back_to : float
        Where it went back to.
    pin : float or None
        Where the point picked on the x axis stands.
    best : Best or None
    """

    span: Span
    marks: Sequence[Mark] = ()
    at: Floats = np.empty(0)
    ghosts: Sequence[Ghost] = ()
    past: History | None = None
    back_to: float = 0.0
    pin: float | None = None
    best: Best | None = None
