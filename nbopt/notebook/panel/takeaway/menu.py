"""The menu of what can be taken away: downloaded, copied, or put into a new cell below."""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import traitlets

from nbopt.errors import shorten
from nbopt.formatting import count
from nbopt.i18n import N_, _
from nbopt.notebook.frontend.bridge import FrontEnd
from nbopt.notebook.panel.drawers import Drawer
from nbopt.notebook.panel.takeaway.report import body, report
from nbopt.run.exports.code import recipe, script, settings_code
from nbopt.run.session.steerable import Steerable

MOST_ROWS = 300_000
"""Of a CSV that is sent to the page."""

_CELL_ROWS = 2_000  # of one that is put into a cell
_LETTERS = 40  # of a file's name

_ITEMS = {
    "csv": (N_("Curves as CSV"), N_("All that was measured, a row for each step")),
    "png": (N_("Curves as PNG"), N_("The charts, as a picture")),
    "svg": (N_("Curves as SVG"), N_("The charts, to be scaled and edited")),
    "code": (N_("Settings as code"), N_("The line that makes a run with these settings")),
    "script": (N_("Script"), N_("Plain PyTorch that does it all again, without nbopt")),
    "recipe": (N_("Recipe"), N_("Settings and changes as YAML, for nbopt.Run.from_yaml")),
    "report": (N_("Report"), N_("One page: picture, best values, settings, journal")),
}
_WORDS = {
    "download": N_("Download"),
    "copy": N_("Copy"),
    "cell": N_("New cell"),
    "downloaded": N_("Downloaded {name}."),
    "copied": N_("Copied."),
    "added": N_("Added a cell below."),
    "none": N_("Only JupyterLab with nbopt's extension can add a cell: copied instead."),
    "failed": N_("The browser did not allow it: {error}"),
}


class Taken(NamedTuple):
    """Something to take away.

    Attributes
    ----------
    name, mime, text : str
        Of the file. The text of a PNG is an SVG, of which the page makes one.
    cell, kind : str
        What a cell would hold, and its type.
    """

    name: str
    mime: str
    text: str
    cell: str
    kind: str = "code"


class TakeAwayMenu(FrontEnd):
    """The page's half: sends ``{"take": item, "how": ...}``, and gets what it is to download, copy or put in a cell."""

    _esm = Path(__file__).parent / "takeaway.js"
    _css = Path(__file__).parent / "takeaway.css"
    items: Any = traitlets.List().tag(sync=True)
    words: Any = traitlets.Dict().tag(sync=True)
    note = traitlets.Unicode().tag(sync=True)


class Menu:
    """A menu of what can be taken away.

    Parameters
    ----------
    items : mapping of str to (str, str)
        Title and explanation of each, by name, to be translated.
    wake : callable
        Tells the bridge that there is something to show.

    Attributes
    ----------
    widget : TakeAwayMenu
    """

    def __init__(self, items: Mapping[str, tuple[str, str]], wake: Callable[[], None]) -> None:
        self._items = items
        self._wake = wake
        self._problem = ""
        told = [[name, _(title), _(text)] for name, (title, text) in items.items()]
        self.widget = TakeAwayMenu(items=told, words={name: _(text) for name, text in _WORDS.items()})
        self.widget.on_msg(lambda _widget, content, _buffers: self._hear(content))

    def close(self) -> None:
        """Nothing is left to do: the widget is closed with its panel."""

    def paint(self) -> None:
        """Say what went wrong; called by the bridge alone."""
        self.widget.note = self._problem

    def _hear(self, content: Any) -> None:
        self._problem = ""
        match content:
            case {"take": str(what), "how": "download" | "copy" | "cell" as how} if what in self._items:
                threading.Thread(target=self._give, args=(what, how), name="nbopt takes away", daemon=True).start()
            case _:
                self._problem = _("The menu does not understand {message}.", message=shorten(content))
                self._wake()

    def _give(self, what: str, how: str) -> None:
        try:
            self.widget.send({"what": what, "how": how, **self.take(what, how)._asdict()})
        except Exception as error:  # nobody would see it
            self._problem = str(error)
        self._wake()

    def take(self, what: str, how: str = "download") -> Taken:
        """Return something to take away."""
        raise NotImplementedError


class TakeAway(Menu):
    """The menu of one run's panel.

    Parameters
    ----------
    run : Steerable
    draw : callable
        Returns the charts as SVG.
    wake : callable
        Tells the bridge that there is something to show.
    """

    def __init__(self, run: Steerable, draw: Callable[[], str], wake: Callable[[], None]) -> None:
        super().__init__(_ITEMS, wake)
        self._run = run
        self._draw = draw

    def take(self, what: str, how: str = "download") -> Taken:
        """Return something to take away.

        Parameters
        ----------
        what : str
            A name of the menu's.
        how : {"download", "copy", "cell"}

        Raises
        ------
        ValueError, TypeError
            If the run cannot be written so; says why.
        """
        run, name = self._run, file_name(self._run.name)
        if what == "csv":
            text = curves_csv(run, _CELL_ROWS if how == "cell" else MOST_ROWS)
            return Taken(f"{name}.csv", "text/csv", text, csv_cell("curves", text))
        if what in ("png", "svg"):
            svg = self._draw()
            data = base64.b64encode(svg.encode()).decode()
            cell = f"![{_plain(run.name)}](data:image/svg+xml;base64,{data})"
            return Taken(f"{name}.{what}", "image/png" if what == "png" else "image/svg+xml", svg, cell, "markdown")
        if what == "report":
            svg = self._draw()
            return Taken(f"{name}.html", "text/html", report(run, svg), body(run, svg), "markdown")
        if what == "recipe":
            text = recipe(run)
            cell = f'recipe = r"""\n{text}"""\nrun = nbopt.Run.from_yaml(recipe, model, train=(X, y))\nrun'
            return Taken(f"{name}.yaml", "application/yaml", text, cell)
        text = script(run) if what == "script" else settings_code(run)
        return Taken(f"{name}.py", "text/x-python", text, text)


def curves_csv(run: Steerable, most: int = MOST_ROWS) -> str:
    """Return all that was measured as CSV, a row for each step, empty where something was not measured there.

    Raises
    ------
    ValueError
        If there are more rows than the page can take.
    """
    frame = run.history.to_pandas()
    if len(frame) > most:
        way = 'run.history.to_pandas().to_csv("curves.csv")'
        raise ValueError(
            _("{count} rows are too many for this; write {way} in a cell.", count=count(len(frame)), way=way)
        )
    return str(frame.to_csv())


def take_away_drawer(run: Steerable, draw: Callable[[], str], wake: Callable[[], None]) -> Drawer:
    """Return the drawer of a panel that holds the menu; for the parameters see `TakeAway`."""
    tip = _("Curves as CSV, PNG or SVG, settings as code, script or recipe, a report")
    return Drawer(_("Take away"), tip, lambda: TakeAway(run, draw, wake))


def csv_cell(name: str, text: str) -> str:
    """Return the code of a cell that makes a data frame of a CSV."""
    return f'import io\n\nimport pandas as pd\n\n{name} = pd.read_csv(io.StringIO("""{text}"""))\n{name}'


def file_name(text: str) -> str:
    """Return a name for files: letters, digits, and dashes between them."""
    return re.sub(r"[^\w]+", "-", text).strip("-")[:_LETTERS] or "run"


def _plain(text: str) -> str:
    return re.sub(r"[^\w .,=-]+", " ", text)
