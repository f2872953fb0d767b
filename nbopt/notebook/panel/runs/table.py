"""The list of runs in a panel: the page's half (runs.js) draws it and sends what somebody does to a run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import traitlets

from nbopt.errors import shorten
from nbopt.formatting import brief, count, setting
from nbopt.i18n import N_, _
from nbopt.notebook.charts.colours import TRAIN
from nbopt.notebook.frontend.bridge import FrontEnd
from nbopt.notebook.panel.drawers import Drawer
from nbopt.notebook.panel.runs.actions import Actions
from nbopt.notebook.panel.runs.overlays import ALONE, Overlays
from nbopt.notebook.panel.runs.verdict import Verdict
from nbopt.run.session.registry import live_runs
from nbopt.run.session.steerable import Steerable
from nbopt.store.database import AUTO
from nbopt.store.listing import runs as stored_runs
from nbopt.training.state import RunState
from nbopt.viz.runs import RunRow, differences, differing_settings, list_runs

_COLUMNS = 8  # of settings that differ
_ROWS = 200
_SECONDS = 5.0  # between two looks at the store while something trains
_PAINT_SECONDS = 0.5
_TELL_SECONDS = 0.5  # between two words of how far an opening is
_LETTERS = 60  # of a value

STATES = {
    "created": N_("Ready"),
    "running": N_("Training"),
    "paused": N_("Paused"),
    "finished": N_("Finished"),
    "stopped": N_("Stopped"),
    "failed": N_("Failed"),
    "interrupted": N_("Interrupted"),
    "spoilt": N_("Spoilt"),
}
_WORDS = {
    "show": N_("Draw {name} in the charts"),
    "star": N_("Star"),
    "title": N_("Runs"),
    "name": N_("Name"),
    "state": N_("State"),
    "best": N_("Best"),
    "last": N_("Last"),
    "step": N_("Step"),
    "created": N_("Created"),
    "rename": N_("Rename"),
    "open": N_("Open"),
    "close": N_("Close"),
    "delete": N_("Delete"),
    "halt": N_("Stop here"),
    "sure": N_("Delete for good?"),
    "lose": N_("Not stored: lose it?"),
    "keep": N_("Keep"),
    "own": N_("this run"),
    "group": N_("Draw"),
    "alone": N_("each run by itself"),
    "all": N_("mean and band of all"),
    "by": N_("mean and band by {name}"),
    "seeds": N_("Mean and band of repeats"),
    "compare": N_("Compare settings"),
    "setting": N_("Setting"),
    "alike": N_("These runs have the same settings."),
    "few": N_("Tick the runs to compare with this one."),
}


class RunsTable(FrontEnd):
    """The page's half: takes rows, and sends ``{"do": ..., "run": id}``."""

    _esm = Path(__file__).parent / "runs.js"
    _css = Path(__file__).parent / "runs.css"
    rows: Any = traitlets.List().tag(sync=True)
    columns: Any = traitlets.List().tag(sync=True)
    diff: Any = traitlets.List().tag(sync=True)
    heads: Any = traitlets.List().tag(sync=True)
    verdict: Any = traitlets.Dict().tag(sync=True)
    seeds: Any = traitlets.Bool(None, allow_none=True).tag(sync=True)
    group = traitlets.Unicode(ALONE).tag(sync=True)
    words: Any = traitlets.Dict().tag(sync=True)
    halts = traitlets.Bool().tag(sync=True)
    note = traitlets.Unicode().tag(sync=True)


class RunsView:
    """The list of runs of one panel: those of this kernel, and those of the run's store.

    Parameters
    ----------
    run : Steerable
        The panel's own.
    overlays : Overlays
    actions : Actions
    wake : callable
        Tells the bridge that there is something to draw.

    Attributes
    ----------
    widget : RunsTable
    rows : list of RunRow
        Those listed, newest first.
    """

    def __init__(self, run: Steerable, overlays: Overlays, actions: Actions, wake: Callable[[], None]) -> None:
        self.rows: list[RunRow] = []
        self._run = run
        self._overlays = overlays
        self._actions = actions
        self._wake = wake
        self._verdict = Verdict(wake)
        self._compared: list[str] = []
        self._stored: list[Any] = []
        self._problem = ""
        self._looked_at = self._painted_at = 0.0
        self._is_looking = False
        self._is_stale = True
        self.widget = RunsTable(words={name: _(text) for name, text in _WORDS.items()})
        self.widget.on_msg(lambda _widget, content, _buffers: self._hear(content))
        self.look()

    def close(self) -> None:
        """Leave off repeating runs; the widget is closed with its panel."""
        self._verdict.close()

    # -- the store, in a thread of its own

    def look(self) -> None:
        """Read the store's list anew, in a thread: it may take long, and the panel goes on meanwhile."""
        if self._is_looking:
            self._is_stale = True
            return
        self._is_looking, self._is_stale = True, False
        threading.Thread(target=self._read, name="nbopt lists runs", daemon=True).start()

    def _read(self) -> None:
        try:
            self._stored = [line for line in stored_runs(self._run.store or AUTO) if line.trials is None]
        except Exception as error:  # nobody would see it
            self._problem = str(error)
        self._looked_at, self._is_looking = time.monotonic(), False
        if self._is_stale:
            self.look()
        self._painted_at = 0.0
        self._wake()

    # -- what the user does, on the kernel's threads

    def _hear(self, content: Any) -> None:
        self._problem = ""
        match content:
            case {"do": "show", "run": str(run_id), "on": bool(on)}:
                self._try(lambda: self._overlays.show(run_id) if on else self._overlays.hide(run_id))
            case {"do": "group", "by": str(by)} if by in (ALONE, "", *differing_settings(self.rows)):
                self._overlays.group_by = by
            case {"do": "seeds", "on": bool(on)}:
                self._overlays.draws_repeats = on
            case {"do": "verdict"}:
                self._verdict.ask(self._compared)
            case {"do": "star", "run": str(run_id), "on": bool(on)}:
                self._try(lambda: self._actions.star(self._row(run_id), on))
            case {"do": "rename", "run": str(run_id), "name": str(name)}:
                self._try(lambda: self._actions.rename(self._row(run_id), name))
            case {"do": "halt"}:
                self._actions.halt()
            case {"do": "open", "run": str(run_id)}:
                threading.Thread(target=self._open, args=(run_id,), name="nbopt opens", daemon=True).start()
            case {"do": "close" | "delete" as action, "run": str(run_id)}:
                threading.Thread(
                    target=self._try, args=(lambda: getattr(self._actions, action)(self._row(run_id)),), daemon=True
                ).start()
            case _:
                self._problem = _("The list of runs does not understand {message}.", message=shorten(content))
        self._painted_at = 0.0
        self._wake()

    def _open(self, run_id: str) -> None:
        """Open a run, and say meanwhile how far that is: nobody else tells of a run that is not there yet."""
        done = threading.Event()

        def tell() -> None:
            while not done.wait(_TELL_SECONDS):
                self._painted_at = 0.0
                self._wake()

        threading.Thread(target=tell, name="nbopt tells how far", daemon=True).start()
        self._try(lambda: self._actions.open(self._row(run_id)))
        done.set()

    def _row(self, run_id: str) -> RunRow:
        for row in self.rows:
            if row.id == run_id:
                return row
        raise LookupError(_("{run} is not in this list.", run=shorten(run_id)))

    def _try(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:  # nobody would see it
            self._problem = str(error)
        self.look()

    # -- what is shown, on the bridge's thread

    def paint(self) -> None:
        """Bring the list up to date; called by the bridge alone."""
        now, live = time.monotonic(), live_runs()
        # At rest each time, for nothing may come after it.
        if now - self._painted_at < _PAINT_SECONDS and any(run.state is RunState.RUNNING for run in live):
            return
        self._painted_at = now
        for run in live:
            if self._wake not in run.watchers:
                run.watch(self._wake)
        self.rows = list_runs(live, self._stored)[:_ROWS]
        if now - self._looked_at > _SECONDS and any(row.state == "running" for row in self.rows):
            self.look()
        shown = self._overlays.colours(self.rows)
        names = differing_settings(self.rows)
        compared = [row for row in self.rows if row.id == self._run.id]
        compared += [row for row in self.rows if row.id in shown and row.id != self._run.id]
        with self.widget.hold_sync():
            self.widget.columns = [[name, self._run.hyperparams.label(name)] for name in names[:_COLUMNS]]
            self.widget.rows = [self._sent(row, shown, names[:_COLUMNS]) for row in self.rows]
            self.widget.heads = [row.name for row in compared]
            self.widget.diff = [
                [self._run.hyperparams.label(name), *map(_written, values)] for name, values in differences(compared)
            ]
            self._compared = [row.id for row in compared]
            self.widget.verdict = self._verdict.tell(self._compared)
            self.widget.seeds = self._overlays.draws_repeats if self._overlays.repeated() else None
            self.widget.group = self._overlays.group_by
            self.widget.note = self._problem or self._actions.note
            self.widget.halts = self._actions.work is not None
            if not self.widget.note and len(self.rows) == _ROWS:
                self.widget.note = _("The newest {count} runs are listed.", count=_ROWS)

    def _sent(self, row: RunRow, shown: dict[str, str], names: list[str]) -> dict[str, Any]:
        is_own = row.id == self._run.id
        return {
            "id": row.id,
            "name": row.name,
            "colour": TRAIN if is_own else shown.get(row.id, ""),
            "shown": is_own or row.id in shown,
            "own": is_own,
            "star": row.starred,
            "state": row.state,
            "told": _(STATES.get(row.state, row.state)) + (f": {row.problem}" if row.problem else ""),
            "values": [_written(row.settings[name]) if name in row.settings else "" for name in names],
            "best": "" if row.best is None else brief(row.best),
            "last": "" if row.last is None else brief(row.last),
            "step": count(row.step),
            "created": time.strftime("%Y-%m-%d %H:%M", time.localtime(row.created)),
            "can": self._actions.possible(row),
            "stored": row.is_stored,
        }


def runs_drawer(
    run: Steerable,
    overlays: Overlays,
    below: list[Steerable],
    retire: Callable[[Steerable], None],
    wake: Callable[[], None],
) -> Drawer:
    """Return the drawer of a panel that holds the list.

    Parameters
    ----------
    run, overlays, wake
        See `RunsView`.
    below : list of Steerable
        The runs whose panels stand below this one: one that is opened comes to them.
    retire : callable
        Takes a run's panel away.
    """

    def show(opened: Steerable) -> None:
        below.append(opened)
        overlays.show(opened.id)

    def make() -> RunsView:
        return RunsView(run, overlays, Actions(run, overlays, show, retire), wake)

    return Drawer(_("Runs"), _("List the runs, and draw others beside this one"), make)


def _written(value: Any) -> str:
    text = "" if value is None else setting(value)
    return text if len(text) <= _LETTERS else text[: _LETTERS - 1] + "…"
