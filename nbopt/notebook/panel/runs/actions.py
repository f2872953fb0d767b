"""What can be done to a run of the list: star, rename, open, close, delete."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from nbopt.errors import check_text
from nbopt.i18n import _
from nbopt.notebook.panel.runs.overlays import Overlays
from nbopt.run.beside import leave_store, open_beside
from nbopt.run.beside import rename as rename_live
from nbopt.run.session.registry import live_runs
from nbopt.run.session.steerable import Steerable
from nbopt.run.session.work import Work
from nbopt.store.cleaning import delete
from nbopt.store.database import AUTO
from nbopt.store.marking import rename, star
from nbopt.store.schema import StoreError
from nbopt.viz.runs import RunRow


class Actions:
    """Does to runs what the list of a panel asks for.

    Parameters
    ----------
    run : Steerable
        The panel's own.
    overlays : Overlays
    opened : callable
        Takes a run that was opened, to show its panel.
    retire : callable
        Takes a run away from wherever it is shown.

    Attributes
    ----------
    opening : RunRow or None
        The run that is being opened.
    """

    def __init__(
        self,
        run: Steerable,
        overlays: Overlays,
        opened: Callable[[Steerable], None],
        retire: Callable[[Steerable], None],
    ) -> None:
        self.opening: RunRow | None = None
        self._run = run
        self._overlays = overlays
        self._opened = opened
        self._retire = retire

    @property
    def _store(self) -> str:
        return AUTO if self._run.store is None else str(self._run.store)

    @property
    def note(self) -> str:
        """What is being done and how far it is, in words; "" if nothing is."""
        if (row := self.opening) is None:
            return ""
        return _("Opening {name} …", name=row.name) if (work := self.work) is None else work.words

    @property
    def work(self) -> Work | None:
        """The steps that an opening does again, once they take long."""
        if (row := self.opening) is None or (run := _find(row.id)) is None or (work := run.work) is None:
            return None
        return work if work.is_shown else None

    def halt(self) -> None:
        """End the opening after the step that is under way: the run rests there."""
        if (work := self.work) is not None:  # without a lock: whoever works has it
            work.stop()

    def possible(self, row: RunRow) -> list[str]:
        """Return what can be done to a run now, by the name of the method."""
        found = ["star"] if row.is_stored and row.state != "spoilt" else []
        if row.state != "spoilt":
            found.append("rename")
        if not row.is_live and row.state != "spoilt" and "open" in self._run.abilities:
            found.append("open")
        if row.is_live and row.id != self._run.id:
            found.append("close")
        if row.is_stored and row.id != self._run.id:
            found.append("delete")
        return found

    def star(self, row: RunRow, on: bool) -> None:
        """Give a run a star, or take it away."""
        star(row.id, on, self._store)

    def rename(self, row: RunRow, name: str) -> None:
        """Give a run another name, in the store and where it lives."""
        name = check_text("name", name.strip())
        if row.is_stored:
            rename(row.id, name, self._store)
        if (run := _find(row.id)) is not None:
            rename_live(run, name)

    def open(self, row: RunRow) -> None:
        """Open a stored run with this run's model and data, and show its panel."""
        self.opening = row
        try:
            self._opened(open_beside(self._run, row.id))
        finally:
            self.opening = None

    def close(self, row: RunRow) -> None:
        """Stop a run of this kernel and take its panel away; the store keeps what it keeps."""
        if (run := _find(row.id)) is None:
            return
        if "stop" in run.abilities:
            run.stop()
        self._overlays.forget(row.id)
        self._retire(run)

    def delete(self, row: RunRow) -> None:
        """Delete a run from the store, and close it if it lives in this kernel.

        Raises
        ------
        StoreError, RuntimeError
            If the store cannot be written, or another process has the run open.
        """
        self.close(row)
        run = _find(row.id)
        if run is not None:
            leave_store(run)
        delete(row.id, self._store)
        with suppress(StoreError, OSError):
            star(row.id, False, self._store)
        self._overlays.forget(row.id)


def _find(run_id: str) -> Steerable | None:
    return next((run for run in live_runs() if run.id == run_id), None)
