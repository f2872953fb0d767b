"""The page's half of a population's panel, and what it is sent: one message a frame, of numbers as bytes (fan.js)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import traitlets
from numpy.typing import NDArray

from nbopt.formatting import brief, count, number
from nbopt.i18n import N_, _
from nbopt.notebook.frontend.bridge import Companion
from nbopt.notebook.frontend.scripts import joined
from nbopt.notebook.panel.status import STATES
from nbopt.run.crowd import Crowd, Individual
from nbopt.training.state import RunState
from nbopt.viz.fan import Fan, spread_out
from nbopt.viz.members import MEMBER, Trait, find_traits
from nbopt.viz.ranges import robust_extent, settled, with_room
from nbopt.viz.ticks import linear_ticks, log_ticks

Array = NDArray[np.float64]

DRAWN = 1024
"""Curves that are drawn at most: more of them than a chart has pixels across nobody tells apart."""

_TOP, _NONE = 65534, 65535  # of the heights that curves are sent as
_TICKS = 6
_LABELS = {"loss": N_("Training loss"), "val_loss": N_("Validation loss")}
_WORDS = {
    "by": N_("Colour by"),
    "metric": N_("Show"),
    "log": N_("Log y"),
    "member": N_("Member"),
    "title": N_("Members"),
    "order": N_("Sort by {name}"),
    "best": N_("Best val loss"),
    "step": N_("Step"),
    "state": N_("State"),
    "nobody": N_("Best so far: nothing is validated yet"),
    "fan": N_("of {count} members, by step"),
    "scatter": N_("{metric} now, by"),
    "empty": N_("Nothing is measured yet."),
    "some": N_("{count} of {size} members chosen"),
    "hint": N_("Click a curve, a point or a row to choose a member; Ctrl or Shift for several, or drag over points"),
    "none": N_("Choose all"),
}
_HERE = Path(__file__).parent
_STYLES = (_HERE.parent / "frontend" / "panel.css", _HERE / "population.css")
_STATES = list(RunState)


class Board(Companion):
    """What the browser draws of a population; written by a bridge alone. See fan.js for what the bytes hold."""

    _esm = joined(_HERE / "fan.js")
    _css: Any = "\n".join(path.read_text(encoding="utf-8") for path in _STYLES)
    size = traitlets.Int(0).tag(sync=True)
    kinds: Any = traitlets.List().tag(sync=True)
    values = traitlets.Bytes().tag(sync=True)
    places = traitlets.Bytes().tag(sync=True)
    by = traitlets.Unicode().tag(sync=True)
    metrics: Any = traitlets.List().tag(sync=True)
    metric = traitlets.Unicode("val_loss").tag(sync=True)
    log_y = traitlets.Bool(True).tag(sync=True)
    steps = traitlets.Bytes().tag(sync=True)
    curves = traitlets.Bytes().tag(sync=True)
    drawn = traitlets.Bytes().tag(sync=True)
    across: Any = traitlets.List([0.0, 1.0]).tag(sync=True)
    up: Any = traitlets.List([0.0, 1.0]).tag(sync=True)
    across_ticks: Any = traitlets.List().tag(sync=True)
    up_ticks: Any = traitlets.List().tag(sync=True)
    now = traitlets.Bytes().tag(sync=True)
    best = traitlets.Bytes().tag(sync=True)
    done = traitlets.Bytes().tag(sync=True)
    states = traitlets.Bytes().tag(sync=True)
    state_words: Any = traitlets.List().tag(sync=True)
    chosen: Any = traitlets.List().tag(sync=True)
    champion: Any = traitlets.Dict({"member": -1, "text": ""}).tag(sync=True)
    said: Any = traitlets.Dict().tag(sync=True)


class FanView:
    """Writes to the board what a population's members are and measured.

    Parameters
    ----------
    population : Crowd
    board : Board

    Attributes
    ----------
    traits : list of Trait
        In what members differ.
    by : str
        That of them which colours the members.
    metric : str
        What is drawn.
    log : bool
        Whether the axis of what is drawn is logarithmic.
    """

    def __init__(self, population: Crowd, board: Board) -> None:
        self._population = population
        self._board = board
        self._fan = Fan(len(population), "")
        self._up: tuple[float, float] | None = None
        self.traits: list[Trait] = []
        self.by = self.metric = ""
        self.log = True
        said = {name: _(text) for name, text in _WORDS.items()}
        if "val_loss" not in self.metrics:
            said["nobody"] = _("Without validation data, nothing tells which member is best")
        board.said = said
        board.state_words = [_(STATES[state]) for state in _STATES]
        self.find_traits()
        self.by = self.traits[0].name

    @property
    def trait(self) -> Trait:
        """What colours the members."""
        return next((trait for trait in self.traits if trait.name == self.by), self.traits[0])

    @property
    def metrics(self) -> list[str]:
        """What can be drawn: all that is measured, and what is expected to be."""
        history = self._population[0].history
        names = dict.fromkeys([*sorted(history.expected), *history.names])
        wanted = [name for name in ("val_loss", "loss") if name in names]
        return [*wanted, *(name for name in names if name not in (*wanted, "lr"))] or ["loss"]

    @property
    def fan(self) -> Fan:
        """The curves as they were drawn last."""
        return self._fan

    def find_traits(self) -> None:
        """Look anew in what members differ."""
        self.traits = find_traits([*self._population])
        board, traits = self._board, self.traits
        board.size = len(self._population)
        board.kinds = [
            {"name": trait.name, "label": trait.label, "kinds": list(trait.kinds), "ticks": trait.ticks}
            for trait in traits
        ]
        board.values = np.concatenate([trait.values for trait in traits]).astype(np.float64).tobytes()
        board.places = np.concatenate([trait.places for trait in traits]).astype(np.float32).tobytes()

    def paint(self) -> None:
        """Bring the board up to date; called by the bridge alone."""
        population, board = self._population, self._board
        members = [*population]
        metrics = self.metrics
        if self.metric not in metrics:
            self.metric = metrics[0]
        board.metrics = [[name, label_of(name)] for name in metrics]
        board.by, board.metric = self.trait.name, self.metric
        if self._fan.name != self.metric:
            self._fan, self._up = Fan(len(members), self.metric), None
        self._fan.take([member.history for member in members])
        self._draw()
        board.now = self._fan.last.astype(np.float32).tobytes()
        board.best = np.array([best_of(member) for member in members], np.float32).tobytes()
        board.done = np.array([member.step_count for member in members], np.int32).tobytes()
        board.states = bytes(_STATES.index(member.state) for member in members)
        board.champion = self._champion()

    def _draw(self) -> None:
        board, trait = self._board, self.trait
        shown = spread_out(trait.places, DRAWN)
        if len(shown) < len(trait.places):
            best = self._population.best
            wanted = [*board.chosen[:DRAWN], *([] if best is None else [best.number])]
            shown = np.union1d(shown, np.array(wanted, np.int64))
        at, heights = self._fan.curves(shown)
        low, high = self.reach(heights)
        board.log_y = self.log
        board.up = [low, high]
        board.up_ticks = self.ticks(low, high)
        first, last = with_room(0.0, float(at[-1])) if len(at) and at[-1] > 0 else (0.0, 1.0)
        board.across = [first, last]
        board.across_ticks = [
            [(x - first) / (last - first), count(x)] for x in linear_ticks(first, last, 8) if x == int(x)
        ]
        board.steps = at.astype(np.float32).tobytes()
        board.drawn = shown.astype(np.int32).tobytes()
        place = np.nan_to_num(place_of(heights, low, high, self.log), nan=2.0)
        sent = np.where(place > 1.5, _NONE, np.clip(place, 0, 1) * _TOP)
        sent[np.isfinite(heights) & (place > 1)] = _TOP
        board.curves = sent.round().astype(np.uint16).tobytes()

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
        self.log, self._up = on, None

    def _champion(self) -> dict[str, Any]:
        best = self._population.best
        if best is None:
            return {"member": -1, "text": ""}
        own = [f"{one.label} {one.text(best.number)}" for one in self.traits if one.name != MEMBER]
        told = _("Best so far: val loss {loss}", loss=brief(best_of(best)))
        where = _("member {member} @ {step}", member=best.number, step=count(best.stopping.best_step))
        return {"member": best.number, "text": " · ".join([told, *own, where])}


def best_of(member: Individual) -> float:
    """Return the best validation loss of a member so far; NaN before the first."""
    judge = member.stopping
    return float(judge.best) if judge is not None and math.isfinite(judge.best) else math.nan


def label_of(metric: str) -> str:
    """Return what a measurement is called."""
    if metric in _LABELS:
        return _(_LABELS[metric])
    name = metric.removeprefix("val_").replace("_", " ")
    return _("Validation {name}", name=name) if metric.startswith("val_") else name[:1].upper() + name[1:]


def place_of(values: Array, low: float, high: float, log: bool) -> Array:
    """Return where values lie between the ends of an axis, from 0 to 1; NaN for what has no place there."""
    if not log:
        return (values - low) / (high - low)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(values > 0, np.log(values / low) / math.log(high / low), np.nan)
