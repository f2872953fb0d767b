"""Runs side by side, as plain data: those of this process and of a store in one list, and what tells them apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbopt.record.history import History
from nbopt.run.session.steerable import Steerable
from nbopt.store.listing import StoredRun
from nbopt.store.values import differing
from nbopt.viz.curves import curve

_POINTS = 400  # of a mean


class RunRow(NamedTuple):
    """One line of a list of runs.

    Attributes
    ----------
    id, name : str
    state : str
        As `RunState` has it; ``interrupted`` and ``spoilt`` as well, see `nbopt.store.listing.StoredRun`.
    created : float
        Seconds since the epoch.
    step : int
    best, last : float or None
        The best validation loss, and the newest; the latter is the training loss where nothing is validated.
    settings : mapping of str to object
    starred, is_live, is_stored : bool
    parent : str or None
    problem : str
    """

    id: str
    name: str
    state: str
    created: float
    step: int
    best: float | None
    last: float | None
    settings: Mapping[str, Any]
    starred: bool
    is_live: bool
    is_stored: bool
    parent: str | None
    problem: str = ""


class Difference(NamedTuple):
    """A setting that is not alike in several runs, and its value in each; None where a run does not know it."""

    name: str
    values: tuple[Any, ...]


def list_runs(live: Iterable[Steerable], stored: Iterable[StoredRun]) -> list[RunRow]:
    """Return the runs of this process and those of a store, each once, newest first."""
    known = {line.id: line for line in stored}
    rows = {line.id: _of_store(line) for line in known.values()}
    for run in live:
        rows[run.id] = _of_process(run, known.get(run.id))
    return sorted(rows.values(), key=lambda row: (row.created, row.id), reverse=True)


def differing_settings(rows: Sequence[RunRow]) -> list[str]:
    """Return the settings that are not alike in all runs."""
    return differing([row.settings for row in rows])


def differences(rows: Sequence[RunRow]) -> list[Difference]:
    """Return how the settings of several runs, two for example, differ."""
    return [
        Difference(name, tuple(row.settings.get(name) for row in rows))
        for name in differing([row.settings for row in rows])
    ]


def grouped(rows: Sequence[RunRow], by: str) -> dict[str, list[RunRow]]:
    """Return runs in groups that are alike in one setting; in a single one, named "", if ``by`` is empty."""
    groups: dict[str, list[RunRow]] = {}
    for row in rows:
        groups.setdefault(str(row.settings.get(by, "")) if by else "", []).append(row)
    return groups


def mean_and_band(histories: Sequence[History]) -> tuple[History, History, History]:
    """Return mean, minimum and maximum of runs at each step, as histories; a run counts as far as it reaches.

    Parameters
    ----------
    histories : sequence of History
        Of at least one run.
    """
    merged = (History(), History(), History())
    for name in dict.fromkeys(name for history in histories for name in history.tracks):
        parts = [curve(history, name) for history in histories if name in history.tracks]
        known = [(part.smooth_x, part.smooth_y) for part in parts if len(part.smooth_x)]
        if not known:
            continue
        steps, values = _on_common_steps(known)
        with np.errstate(invalid="ignore"):
            count = np.isfinite(values).sum(0)
        steps, values = steps[count > 0], values[:, count > 0]
        reduced = (np.nanmean(values, axis=0), np.nanmin(values, axis=0), np.nanmax(values, axis=0))
        for history, numbers in zip(merged, reduced, strict=True):
            history.extend(name, steps, numbers)
    return merged


def _on_common_steps(
    curves: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return common steps (n,) and the values of each curve there (k, n), NaN where it does not reach."""
    steps = np.unique(np.concatenate([x for x, _y in curves]).astype(np.int64))
    if len(steps) > _POINTS:
        steps = steps[np.linspace(0, len(steps) - 1, _POINTS).astype(int)]
    values = [np.interp(steps, x, y, left=np.nan, right=np.nan) for x, y in curves]
    return steps, np.array(values)


def _of_store(line: StoredRun) -> RunRow:
    return RunRow(
        line.id,
        line.name,
        line.state,
        line.created.timestamp(),
        line.step,
        line.best_val_loss,
        line.last,
        line.settings,
        line.starred,
        False,
        True,
        line.parent,
        line.problem,
    )


def _of_process(run: Steerable, line: StoredRun | None) -> RunRow:
    stopping = run.stopping
    best = None if stopping is None or stopping.best_step is None else float(stopping.best)
    last = run.history.last("val_loss")
    return RunRow(
        run.id,
        run.name,
        run.state.value,
        run.created,
        run.step_count,
        best,
        run.history.last("loss") if last is None else last,
        {**({} if line is None else line.settings), **run.hyperparams},
        line is not None and line.starred,
        True,
        line is not None,
        run.parent,
    )
