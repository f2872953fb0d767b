"""The page's half of a population's panel, and what it is sent: one message a frame, of numbers as bytes (fan.js)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import traitlets

from nbopt.formatting import brief, count
from nbopt.i18n import N_, _
from nbopt.notebook.frontend.scripts import joined
from nbopt.notebook.panel.status import STATES
from nbopt.notebook.population.curves import STRONG, CurvesBoard, CurvesView
from nbopt.run.session.crowd import Crowd, Individual
from nbopt.training.state import RunState
from nbopt.viz.fan import Fan
from nbopt.viz.members import MEMBER, Trait, find_traits

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
_STATES = list(RunState)


class Board(CurvesBoard):
    """What the browser draws of a population; written by a bridge alone. See fan.js for what the bytes hold."""

    _esm = joined(_HERE / "fan.js")
    kinds: Any = traitlets.List().tag(sync=True)
    values = traitlets.Bytes().tag(sync=True)
    places = traitlets.Bytes().tag(sync=True)
    metrics: Any = traitlets.List().tag(sync=True)
    metric = traitlets.Unicode("val_loss").tag(sync=True)
    best = traitlets.Bytes().tag(sync=True)
    champion: Any = traitlets.Dict({"member": -1, "text": ""}).tag(sync=True)


class FanView(CurvesView):
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
    """

    def __init__(self, population: Crowd, board: Board) -> None:
        super().__init__(board)
        self._population = population
        self._board = board
        self._fan = Fan(len(population), "")
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
            self._fan = Fan(len(members), self.metric)
            self.forget()
        self._fan.take([member.history for member in members])
        best = population.best
        wanted = [*board.chosen[:STRONG], *([] if best is None else [best.number])]
        self.draw(self._fan, self.trait.places, wanted)
        board.now = self._fan.last.astype(np.float32).tobytes()
        board.best = np.array([best_of(member) for member in members], np.float32).tobytes()
        board.done = np.array([member.step_count for member in members], np.int32).tobytes()
        board.states = bytes(_STATES.index(member.state) for member in members)
        board.champion = self._champion()

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
