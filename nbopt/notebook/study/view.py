"""What a study's trials are and reached, as the page gets it: bytes, axes, and a line of the best so far."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbopt.formatting import brief, number
from nbopt.i18n import N_, _
from nbopt.notebook.population.curves import STRONG, CurvesView
from nbopt.notebook.study.board import WORDS, StudyBoard
from nbopt.search.results.front import undominated
from nbopt.search.showing import Shown
from nbopt.search.spaces.dimension import Dimension
from nbopt.search.trial import COMPLETE, FAILED, PRUNED, RUNNING, Trial
from nbopt.viz.reports import Reports
from nbopt.viz.trials import (
    TIME,
    TRIAL,
    Axis,
    Column,
    best_so_far,
    course_columns,
    label_of,
    objective_columns,
    value_columns,
)

_RESTING = "resting"
STATES = {
    RUNNING: N_("Training"),
    COMPLETE: N_("Complete"),
    PRUNED: N_("Pruned"),
    FAILED: N_("Failed"),
    _RESTING: N_("Paused"),
}
"""What the states of trials are called."""

_STATES = [*STATES]
_SOURCES = [N_("sampler"), N_("hand")]


class StudyView(CurvesView):
    """Writes to the board what a study's trials are and measured.

    Parameters
    ----------
    study : Shown
    board : StudyBoard

    Attributes
    ----------
    by, x, y : str
        The column that colours the trials, and those that the points are drawn along.
    given, grown : list of Column
        The values that trials were given; their numbers, the time spent by their ends, and what they reached.
    reports : Reports
    """

    def __init__(self, study: Shown, board: StudyBoard) -> None:
        super().__init__(board)
        self._study, self._board = study, board
        self._known: tuple[Any, ...] = ()
        self.reports = Reports()
        self.given: list[Column] = []
        self.grown: list[Column] = []
        first, *others = study.objectives
        self.by = first.name
        self.x, self.y = (TRIAL, first.name) if not others else (first.name, others[0].name)
        self.log = first.direction == "minimize"
        board.said = {name: _(text) for name, text in WORDS.items()}
        board.state_words = [_(text) for text in STATES.values()]
        board.source_words = [_(text) for text in _SOURCES]
        board.measure = label_of(first)
        if first.function is not None or others:
            board.said = board.said | {"empty": _(WORDS["silent"])}
        self.look([])

    @property
    def columns(self) -> list[Column]:
        """All of them."""
        return [*self.grown, *self.given]

    def column(self, name: str) -> Column:
        """Return the column of that name; the first one where there is none."""
        return next((each for each in self.columns if each.axis.name == name), self.columns[0])

    def look(self, trials: list[Trial]) -> None:
        """Look anew at what trials were given, if that changed, and at what they reached."""
        study = self._study
        known = (len(trials), id(trials[-1]) if trials else 0, len(study.journal), study.step_count)
        if known != self._known:  # what an objective suggests itself is known at the end of a trial
            self._known = known
            self.given = value_columns(study.space, study.declared, trials)
        self.grown = [*course_columns(trials), *objective_columns(study.objectives, trials)]

    def paint(self, trials: list[Trial]) -> None:
        """Bring the board up to date; called by the bridge alone."""
        board = self._board
        self.look(trials)
        board.size = len(trials)
        board.given, board.values, board.places = _packed(self.given)
        board.grown, board.found, board.found_places = _packed(self.grown)
        board.by, board.x, board.y = (self.column(name).axis.name for name in (self.by, self.x, self.y))
        hues = self.column(self.by).places
        board.hues = hues.astype(np.float32).tobytes()
        champion = self.champion(trials)
        self.reports.take(trials)
        wanted = [*board.chosen[:STRONG], *([] if champion is None else [champion.number])]
        self.draw(self.reports.fan, np.nan_to_num(hues, nan=1.0), wanted)
        board.now = self.reports.fan.last[: len(trials)].astype(np.float32).tobytes()
        board.line = self._line(trials)
        done, spent = [trial.steps for trial in trials], [trial.seconds for trial in trials]
        board.done, board.spent = (
            np.array([it or np.nan for it in told], np.float32).tobytes() for told in (done, spent)
        )
        board.states = bytes(_STATES.index(_state_of(trial)) for trial in trials)
        board.sources = bytes(trial.source != "sampler" for trial in trials)
        board.champion = self._told(champion)
        board.space = [self._row(each) for each in self._study.space.values()]
        board.total = self._study.total

    def champion(self, trials: list[Trial]) -> Trial | None:
        """Return the best complete trial, by the first objective."""
        first = self._study.objectives[0]
        done = [trial for trial in trials if trial.state == COMPLETE]
        if not done:
            return None
        return (min if first.direction == "minimize" else max)(done, key=lambda trial: trial.objectives[0])

    def _line(self, trials: list[Trial]) -> bytes:
        """Return the corners of the best so far, or of the front, as places: x of all, then y of all."""
        objectives = {each.name: each for each in self._study.objectives}
        x, y = self.column(self.x), self.column(self.y)
        complete = np.array([trial.state == COMPLETE for trial in trials], bool)
        if y.axis.name not in objectives or not complete.any():
            return b""
        way = objectives[y.axis.name].direction
        if x.axis.name in (TRIAL, TIME):
            at, held = best_so_far(np.where(complete, x.values, np.nan), y.values, way)
            end = float(np.nanmax(x.values))
            at, held = np.append(np.repeat(at, 2)[1:], end), np.repeat(held, 2)
        elif x.axis.name in objectives and x.axis.name != y.axis.name:
            signs = [1.0 if objectives[each.axis.name].direction == "minimize" else -1.0 for each in (x, y)]
            pairs = np.stack([x.values, y.values], axis=1)[complete]
            pairs = pairs[np.isfinite(pairs).all(axis=1)]
            at, held = np.unique(pairs[undominated(pairs * signs)], axis=0).T  # in the order of x
        else:
            return b""
        return np.concatenate([x.axis.places(at), y.axis.places(held)]).astype(np.float32).tobytes()

    def _told(self, champion: Trial | None) -> dict[str, Any]:
        if champion is None:
            return {"trial": -1, "text": ""}
        found = [
            f"{label_of(each)} {brief(value)}"
            for each, value in zip(self._study.objectives, champion.objectives, strict=True)
        ]
        own = [f"{each.axis.label} {each.axis.text(float(each.values[champion.number]))}" for each in self.given]
        told = _("Best so far: {found}", found=", ".join(found))
        which = _("trial {number}", number=champion.number)  # before what a narrow panel has no room for
        return {"trial": champion.number, "text": " · ".join([told, which, *own])}

    def _row(self, dimension: Dimension) -> dict[str, Any]:
        """Return what the page says of a dimension, and where on its axis it is searched."""
        study, name = self._study, dimension.name
        pinned, declared = study.space.pinned, study.declared[name]
        axis = self.column(name).axis
        if dimension.options:
            at: list[float] = [axis.kinds.index(number(option)) for option in dimension.options]
        else:
            ends = [dimension.low, dimension.high]
            at = axis.places(np.array([2.0**end for end in ends] if dimension.powers else ends)).tolist()
        return {
            "name": name,
            "label": axis.label,
            "range": dimension.words,
            "pinned": number(pinned[name]) if name in pinned else "",
            "narrowed": name in pinned or dimension != declared,
            "at": at,
        }


def _state_of(trial: Trial) -> str:
    return _RESTING if trial.is_resting and not trial.is_done else trial.state


def _packed(columns: list[Column]) -> tuple[list[dict[str, Any]], bytes, bytes]:
    """Return what columns are, their values one after the other, and their places."""
    if not columns:
        return [], b"", b""
    told = [_tell(each.axis) for each in columns]
    values = np.concatenate([each.values for each in columns]).astype(np.float64).tobytes()
    return told, values, np.concatenate([each.places for each in columns]).astype(np.float32).tobytes()


def _tell(axis: Axis) -> dict[str, Any]:
    return {
        "name": axis.name,
        "label": axis.label,
        "low": axis.low,
        "high": axis.high,
        "log": axis.log,
        "whole": axis.whole,
        "kinds": list(axis.kinds),
        "ticks": [list(tick) for tick in axis.ticks],
    }
