"""Curves of many runs as the page gets them: bytes, and where the axes go. What a population and a study share."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import traitlets
from numpy.typing import NDArray

from nbopt.formatting import count, number
from nbopt.notebook.frontend.bridge import Companion
from nbopt.notebook.frontend.scripts import styles
from nbopt.viz.fan import Fan, spread_out
from nbopt.viz.ranges import robust_extent, settled, with_room
from nbopt.viz.ticks import linear_ticks, log_ticks

Array = NDArray[np.float64]

DRAWN = 1024
"""Curves that are drawn at most: more of them than a chart has pixels across nobody tells apart."""

STRONG = 200
"""Runs chosen that stand out each by itself; of more, the others are pale."""

_TOP, _NONE = 65534, 65535  # of the heights that curves are sent as
_TICKS = 6
_HERE = Path(__file__).parent
_STYLES = (_HERE.parent / "frontend" / "panel.css", _HERE / "population.css")


class CurvesBoard(Companion):
    """What the browser draws of many runs; written by a bridge alone. See curves.js for what the bytes hold."""

    _css: Any = styles(*_STYLES)
    size = traitlets.Int(0).tag(sync=True)
    by = traitlets.Unicode().tag(sync=True)
    log_y = traitlets.Bool(True).tag(sync=True)
    steps = traitlets.Bytes().tag(sync=True)
    curves = traitlets.Bytes().tag(sync=True)
    drawn = traitlets.Bytes().tag(sync=True)
    beside = traitlets.Bytes().tag(sync=True)
    beside_curves = traitlets.Bytes().tag(sync=True)
    across: Any = traitlets.List([0.0, 1.0]).tag(sync=True)
    up: Any = traitlets.List([0.0, 1.0]).tag(sync=True)
    across_ticks: Any = traitlets.List().tag(sync=True)
    up_ticks: Any = traitlets.List().tag(sync=True)
    now = traitlets.Bytes().tag(sync=True)
    done = traitlets.Bytes().tag(sync=True)
    states = traitlets.Bytes().tag(sync=True)
    state_words: Any = traitlets.List().tag(sync=True)
    chosen: Any = traitlets.List().tag(sync=True)
    said: Any = traitlets.Dict().tag(sync=True)


class CurvesView:
    """Writes curves to a board.

    Parameters
    ----------
    board : CurvesBoard

    Attributes
    ----------
    log : bool
        Whether the axis of what is drawn is logarithmic.
    """

    def __init__(self, board: CurvesBoard) -> None:
        self._drawn_on = board
        self._up: tuple[float, float] | None = None
        self.log = True

    def draw(self, fan: Fan, places: Array, wanted: Iterable[int]) -> None:
        """Write the curves to the board.

        Parameters
        ----------
        fan : Fan
        places : ndarray, shape (runs,)
            Where each lies among the colours: of too many, those are drawn that stand for all.
        wanted : iterable of int
            Runs that are drawn in any case: where they are not among those, beside them, so that a choice changes as
            little as can be of what the page gets and draws.
        """
        board = self._drawn_on
        shown = spread_out(places, DRAWN)
        beside = np.setdiff1d(np.array([*wanted], np.int64), shown)
        at, heights = fan.curves(np.concatenate([shown, beside]))
        low, high = self.reach(heights[: len(shown)])
        board.log_y = self.log
        board.up = [low, high]
        board.up_ticks = self.ticks(low, high)
        first, last = with_room(0.0, float(at[-1])) if len(at) and at[-1] > 0 else (0.0, 1.0)
        board.across = [first, last]
        board.across_ticks = [
            [(x - first) / (last - first), count(x)] for x in linear_ticks(first, last, 8) if x == int(x)
        ]
        board.steps = at.astype(np.float32).tobytes()
        board.drawn, board.beside = (rows.astype(np.int32).tobytes() for rows in (shown, beside))
        place = np.nan_to_num(place_of(heights, low, high, self.log), nan=2.0)
        sent = np.where(place > 1.5, _NONE, np.clip(place, 0, 1) * _TOP)
        sent[np.isfinite(heights) & (place > 1)] = _TOP
        sent = sent.round().astype(np.uint16)
        board.curves, board.beside_curves = sent[: len(shown)].tobytes(), sent[len(shown) :].tobytes()

    def reach(self, heights: Array) -> tuple[float, float]:
        """Return from where to where the axis of what is drawn goes."""
        wanted = robust_extent([heights.T.ravel()], self.log)
        self._up = settled(self._up, wanted, self.log)
        return self._up

    def ticks(self, low: float, high: float) -> list[list[Any]]:
        """Return place and text of what that axis is labelled with."""
        values = log_ticks(low, high, _TICKS) if self.log else linear_ticks(low, high, _TICKS)
        return [[float(place_of(np.array(value), low, high, self.log)), number(value)] for value in values]

    def toggle_log(self, on: bool) -> None:
        """Make the axis of what is drawn logarithmic, or linear."""
        self.log = on
        self.forget()

    def forget(self) -> None:
        """Let the axis go wherever it has to."""
        self._up = None


def place_of(values: Array, low: float, high: float, log: bool) -> Array:
    """Return where values lie between the ends of an axis, from 0 to 1; NaN for what has no place there."""
    if not log:
        return (values - low) / (high - low)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(values > 0, np.log(values / low) / math.log(high / low), np.nan)
