"""What can be taken away from a study's panel: all trials as a table, the winner as code."""

from __future__ import annotations

from collections.abc import Callable

from nbopt.formatting import count
from nbopt.i18n import N_, _
from nbopt.notebook.panel.drawers import Drawer
from nbopt.notebook.panel.takeaway.menu import Menu, Taken, csv_cell, file_name
from nbopt.run.exports.code import recipe, script, settings_code
from nbopt.search.showing import Shown
from nbopt.search.trial import Trial

_CELL_ROWS = 2_000  # of a table that is put into a cell
_ITEMS = {
    "csv": (N_("Trials as CSV"), N_("A row for each trial; in a new cell, a data frame")),
    "values": (N_("Winner's values"), N_("The values of the best trial, as a dict")),
    "code": (N_("Winner as code"), N_("The line that makes a run with the best trial's settings")),
    "script": (N_("Winner as script"), N_("Plain PyTorch that trains the best trial again, without nbopt")),
    "recipe": (N_("Winner as recipe"), N_("Settings and changes as YAML, for nbopt.Run.from_yaml")),
}


class StudyTakeAway(Menu):
    """The menu of one study's panel.

    Parameters
    ----------
    study : Shown
    wake : callable
        Tells the bridge that there is something to show.
    """

    def __init__(self, study: Shown, wake: Callable[[], None]) -> None:
        super().__init__(_ITEMS, wake)
        self._study = study

    def take(self, what: str, how: str = "download") -> Taken:
        """Return something to take away.

        Parameters
        ----------
        what : str
            A name of the menu's.
        how : {"download", "copy", "cell"}

        Raises
        ------
        ValueError
            If there is nothing yet, or no run to be written as code.
        """
        study, name = self._study, file_name(self._study.name)
        if what == "csv":
            frame = study.to_pandas()
            if how == "cell" and len(frame) > _CELL_ROWS:
                told = {"count": count(len(frame)), "way": "study.to_pandas()"}
                raise ValueError(_("{count} rows are too many for this; write {way} in a cell.", **told))
            text = str(frame.to_csv())
            return Taken(f"{name}.csv", "text/csv", text, csv_cell("trials", text))
        winner = self._winner()
        if what == "values":
            text = f"values = {winner.values!r}\n"
            return Taken(f"{name}.py", "text/x-python", text, text)
        run = winner.run(name=f"{study.name} [{winner.number}]", store=None)
        if what == "recipe":
            text = recipe(run)
            cell = f'recipe = r"""\n{text}"""\nrun = nbopt.Run.from_yaml(recipe, model, train=(X, y))\nrun'
            return Taken(f"{name}.yaml", "application/yaml", text, cell)
        text = script(run) if what == "script" else settings_code(run)
        return Taken(f"{name}.py", "text/x-python", text, text)

    def _winner(self) -> Trial:
        """Return the best trial; of several objectives, the best by the first."""
        ranked = self._study.ranked()
        if not ranked:
            raise ValueError(_("No trial is complete yet."))
        return ranked[0]


def take_away_drawer(study: Shown, wake: Callable[[], None]) -> Drawer:
    """Return the drawer of a panel that holds the menu."""
    tip = _("All trials as CSV or data frame, the winner as code, script or recipe")
    return Drawer(_("Take away"), tip, lambda: StudyTakeAway(study, wake))
