"""Which other runs a panel's charts show beside its own, in which colours, one by one or in groups."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from nbopt.errors import InvalidHyperparam
from nbopt.i18n import _
from nbopt.notebook.charts.colours import OTHERS
from nbopt.notebook.charts.view import Ghost
from nbopt.record.history import History
from nbopt.run.population.of_run import AsksMany
from nbopt.run.population.population import Population
from nbopt.run.session.registry import live_runs
from nbopt.run.session.steerable import Steerable
from nbopt.store.database import AUTO
from nbopt.store.reading import read
from nbopt.training.state import RunState
from nbopt.viz.runs import RunRow, grouped, mean_and_band

MOST = 12
"""Runs that are drawn at once."""

ALONE = "-"
"""The grouping in which each run is drawn by itself; any other is a setting, or "" for all runs as one group."""

FOUND = OTHERS[4], OTHERS[5], OTHERS[3]
"""The colours of what a search around the run found, the best trial first."""

_REPEATED = OTHERS[3]  # which other runs come by last
_BAND = 0.45  # opacity of the lines around a mean


class _Merged(NamedTuple):
    moment: tuple[object, ...]
    histories: tuple[History, History, History]


class Overlays:
    """The runs drawn beside a panel's own.

    The run that it branched off and its branches are drawn until somebody hides them, the others once somebody asks
    for them. Those that live in this kernel are drawn as they grow, those of the store as they were read.

    Parameters
    ----------
    run : Steerable
    wake : callable
        Tells the bridge that there is something to draw.

    Attributes
    ----------
    group_by : str
        See `ALONE`.
    draws_repeats : bool
        Whether the mean of what `Run.repeat` did is drawn, and the band that it lies in.
    """

    def __init__(self, run: Steerable, wake: Callable[[], None]) -> None:
        self.group_by = ALONE
        self.draws_repeats = True
        self._run = run
        self._wake = wake
        self._wished: dict[str, bool] = {}  # by id: shown or hidden by hand
        self._colours: dict[str, str] = {}
        self._stored: dict[str, tuple[str, History]] = {}  # names and histories of those that do not live here
        self._merged: dict[tuple[str, ...], _Merged] = {}
        self._lock = threading.Lock()

    def show(self, run_id: str) -> None:
        """Draw a run; called on any thread but the bridge's, since it may have to be read.

        Raises
        ------
        InvalidHyperparam
            If there is no such run, or enough are drawn.
        StoreError
            If it cannot be read.
        """
        if len(self.shown()) >= MOST and run_id not in self.shown():
            raise InvalidHyperparam(_("At most {count} runs can be drawn at once: hide one first.", count=MOST))
        if all(run.id != run_id for run in live_runs()):
            record = read(run_id, self._run.store or AUTO)
            self._stored[run_id] = (record.name, record.history)
        with self._lock:
            self._wished[run_id] = True
        self._wake()

    def hide(self, run_id: str) -> None:
        """Draw a run no longer."""
        with self._lock:
            self._wished[run_id] = False
            self._colours.pop(run_id, None)
            self._stored.pop(run_id, None)
        self._wake()

    def forget(self, run_id: str) -> None:
        """Draw a run no longer, which is gone."""
        self.hide(run_id)
        self._wished.pop(run_id, None)

    def shown(self) -> dict[str, str]:
        """Return the runs that are drawn, each with its colour, those drawn first at the beginning."""
        relatives = [run.id for run in self.relatives()]
        with self._lock:
            ids = [run for run, wished in self._wished.items() if wished]
            ids += [run for run in relatives if run not in self._wished]
            ids = ids[-MOST:]
            for run in [run for run in self._colours if run not in ids]:
                del self._colours[run]
            for run in ids:
                if run not in self._colours:
                    self._colours[run] = self._free_colour()
            return dict(self._colours)

    def colours(self, rows: Sequence[RunRow]) -> dict[str, str]:
        """Return the runs that are drawn, each with the colour of its curves or of its group's."""
        shown = self.shown()
        if self.group_by == ALONE:
            return shown
        groups = grouped([row for row in rows if row.id in shown and row.id != self._run.id], self.group_by)
        drawn = {row.id: _colour(number) for number, members in enumerate(groups.values()) for row in members}
        return {**shown, **drawn}

    def _free_colour(self) -> str:
        """Return the colour that fewest runs have."""
        taken = list(self._colours.values())
        return min(OTHERS, key=taken.count)

    def relatives(self) -> list[Steerable]:
        """Return the run that this one branched off, and its branches, oldest first."""
        run = self._run
        return [other for other in live_runs() if other.id == run.parent or other.parent == run.id]

    def running(self) -> list[Steerable]:
        """Return those that are drawn and live in this kernel; the bridge is told when they change."""
        shown = self.shown()
        found: list[Steerable] = [run for run in live_runs() if run.id in shown and run is not self._run]
        for run in found:
            if self._wake not in run.watchers:
                run.watch(self._wake)
        return found

    def close(self) -> None:
        """Watch nothing any more."""
        for _run, repeats in self.repeated():
            if self._wake in repeats.watchers:
                repeats.watchers.remove(self._wake)
        if isinstance(self._run, AsksMany) and self._run.search is not None:
            self._run.search.unwatch(self._wake)
        for run in live_runs():  # at last, since whoever asks what is drawn watches that
            if run is not self._run and self._wake in run.watchers:
                run.unwatch(self._wake)

    def ghosts(self, rows: Sequence[RunRow] = ()) -> list[Ghost]:
        """Return what the charts are to draw, in the order of `shown`; ``rows`` tell the settings to group by."""
        live = {run.id: run for run in self.running()}
        drawn: dict[str, tuple[str, History]] = {}
        shown = self.shown()
        for run_id in shown:
            if run_id in live:
                drawn[run_id] = (self._label(live[run_id]), live[run_id].history)
            elif run_id in self._stored:
                drawn[run_id] = self._stored[run_id]
        if self.group_by == ALONE:
            found = [Ghost(label, history, shown[run_id]) for run_id, (label, history) in drawn.items()]
        else:
            found = self._groups([row for row in rows if row.id in drawn], {run: own[1] for run, own in drawn.items()})
        return [*found, *self._found(), *self._repeats(shown)]

    def _found(self) -> list[Ghost]:
        """Return the best trials of a search around the run."""
        study = self._run.search if isinstance(self._run, AsksMany) else None
        if study is not None and self._wake not in study.watchers:
            study.watch(self._wake)
        held = [] if study is None else study.held[: len(FOUND)]
        return [
            Ghost(_("trial {number}", number=trial.number), session.history, colour)
            for (trial, session), colour in zip(held, FOUND, strict=False)
        ]

    def repeated(self) -> list[tuple[AsksMany, Population]]:
        """Return the runs that are drawn and were repeated under other seeds, this panel's own first, and by whom."""
        runs = [self._run, *self.running()]
        return [(run, run.repeats) for run in runs if isinstance(run, AsksMany) and run.repeats is not None]

    def _repeats(self, shown: Mapping[str, str]) -> list[Ghost]:
        ghosts: list[Ghost] = []
        for run, repeats in self.repeated() if self.draws_repeats else []:
            if self._wake not in repeats.watchers:
                repeats.watchers.append(self._wake)
            grows = repeats.state is RunState.RUNNING
            mean, low, high = self._merge([(member.id, member.history) for member in repeats], grows)
            label = _("mean of {count} seeds", count=len(repeats))
            if run is not self._run:
                label = f"{self._label(run)}, {label}"
            colour = shown.get(run.id, _REPEATED)
            ghosts += [Ghost(label, mean, colour), *(Ghost("", edge, colour, _BAND) for edge in (low, high))]
        return ghosts

    def _groups(self, rows: Sequence[RunRow], histories: dict[str, History]) -> list[Ghost]:
        ghosts: list[Ghost] = []
        for number, (value, members) in enumerate(grouped(rows, self.group_by).items()):
            colour = _colour(number)
            grows = any(row.is_live and row.state == "running" for row in members)
            mean, low, high = self._merge([(row.id, histories[row.id]) for row in members], grows)
            about = f"{self.group_by} {value}" if self.group_by else _("mean")
            ghosts.append(Ghost(_("{about} ({count} runs)", about=about, count=len(members)), mean, colour))
            ghosts += [Ghost("", history, colour, _BAND) for history in (low, high)] if len(members) > 1 else []
        return ghosts

    def _merge(self, members: list[tuple[str, History]], grows: bool) -> tuple[History, History, History]:
        """Return the mean and the band of some runs, worked out anew once they grew by a hundredth, and at rest."""
        key = tuple(run for run, _history in members)
        moment = (grows, *(_grown(history.measured) if grows else history.measured for _run, history in members))
        if key not in self._merged or self._merged[key].moment != moment:
            merged = mean_and_band([history for _run, history in members])
            self._merged = {**self._merged, key: _Merged(moment, merged)}
        return self._merged[key].histories

    def _label(self, other: Steerable) -> str:
        return _("parent") if other.id == self._run.parent else other.name.removeprefix(f"{self._run.name}, ")


def _colour(number: int) -> str:
    return OTHERS[number % len(OTHERS)]


def _grown(steps: int) -> int:
    every = int(10 ** max(0, len(str(steps)) - 2))
    return steps // every
