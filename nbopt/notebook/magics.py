"""``%nbopt``: help, the list of runs, demos. Imports neither torch nor a widget before it is used."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from nbopt.errors import InvalidHyperparam, unknown
from nbopt.formatting import count
from nbopt.i18n import _
from nbopt.notebook.demos import DEMOS
from nbopt.notebook.listed import find, listed

if TYPE_CHECKING:
    from nbopt.run.session.operable import Driven

_HELP = """\
nbopt: tune a training run while it runs.

  import nbopt
  run = nbopt.Run(model, train=(X, y), val=0.2, metrics=["accuracy"])
  run                      the live panel, as the last line of a cell
  run.start()  run.pause()  run.resume()  run.step()  run.stop()
  run.set(lr=3e-4)         from code, at the next step

  %nbopt                   this help, and the runs of this kernel
  %nbopt show ID           the run, population or study of this kernel with this id or name; old = %nbopt show ID
  %nbopt demo NAME         a ready panel, data and all: {demos}
"""


def load(ipython: Any) -> None:
    """Register the magics."""
    ipython.register_magic_function(nbopt, "line", "nbopt")


def unload(ipython: Any) -> None:
    """Take the magics away; runs and panels go on."""
    ipython.magics_manager.magics["line"].pop("nbopt", None)


def nbopt(line: str) -> Any:
    """``%nbopt``: help and the list of runs; ``%nbopt demo NAME``: a ready panel; ``%nbopt show ID``: returns a run."""
    words = line.split()
    try:
        match words:
            case []:
                _write(_(_HELP, demos=", ".join(DEMOS)) + _runs())
            case ["demo"]:
                _write(_("Demos: {names}.", names=", ".join(DEMOS)) + "\n")
            case ["demo", name]:
                _demo(name)
            case ["demo", *_rest]:
                _write(_("%nbopt demo takes one name; got {count}.", count=len(words) - 1) + "\n")
            case ["show"]:
                _write(_("%nbopt show takes the id or the name of a run; %nbopt lists them.") + "\n")
            case ["show", *rest]:
                return _find(" ".join(rest).strip("\"'"))
            case [command, *_rest]:
                raise unknown(_("command"), command, ["demo", "show"])
    except InvalidHyperparam as error:
        _write(f"{error}\n")
    return None


def _demo(name: str) -> None:
    from IPython.core.getipython import get_ipython

    if name not in DEMOS:
        raise unknown(_("demo"), name, DEMOS)
    ipython = get_ipython()
    assert ipython is not None  # magics run in one
    ipython.set_next_input(f"# %nbopt demo {name}\n{DEMOS[name]}", replace=True)
    ipython.run_cell(DEMOS[name])  # type: ignore[no-untyped-call]


def _find(name: str) -> Driven:
    found = find(name)
    if len(found) > 1:
        ids = ", ".join(thing.id for thing in found)
        raise InvalidHyperparam(_("several are called {name!r}: show one by its id, {ids}.", name=name, ids=ids))
    if found:
        return found[0]
    raise unknown(_("run of this kernel"), name, [thing.id for thing in listed()])


def _runs() -> str:
    """List the runs of this process, and what trains many."""
    runs = listed()
    if not runs:
        return "\n" + _("No runs in this kernel yet.") + "\n"
    from nbopt.notebook.panel.status import STATES

    rows = [
        (
            run.name,
            _(STATES[run.state]),
            _epochs(run),
            count(run.step_count),
            run.id,
        )
        for run in runs
    ]
    table = [(_("run"), _("state"), _("epoch"), _("step"), _("id")), *rows]
    widths = [max(len(row[k]) for row in table) for k in range(5)]
    return "\n" + "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n" for row in table
    )


def _epochs(thing: Any) -> str:
    """Return how many of its epochs are done; "" for a study, whose steps are trials."""
    return f"{thing.epoch}{thing.plan.of_epochs}" if hasattr(thing, "plan") else ""


def _write(text: str) -> None:
    sys.stdout.write(text)
