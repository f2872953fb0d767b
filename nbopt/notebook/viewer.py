"""How runs show themselves in a notebook.

Imported with the engine where a notebook listens: half a second for the widgets (bqplot brings pandas) is then spent
beside the other imports, and not between a cell and its panel.
"""

from __future__ import annotations

import html
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from IPython.core.getipython import get_ipython
from IPython.display import DisplayHandle, display

from nbopt.i18n import _
from nbopt.notebook.cells import CELLS
from nbopt.notebook.frontend.ahead import load_page_ahead
from nbopt.notebook.frontend.widgets import bundle
from nbopt.notebook.listed import enter
from nbopt.notebook.panel.lr_finder import FinderChart
from nbopt.notebook.panel.panel import announce, panel_of
from nbopt.notebook.panel.status import in_short
from nbopt.notebook.population.facts import facts_of as facts_of_population
from nbopt.notebook.population.panel import panel_of as panel_of_population

if TYPE_CHECKING:
    from nbopt.run.lr_finder import Sweep
    from nbopt.run.session.crowd import Crowd
    from nbopt.run.session.operable import Driven
    from nbopt.run.session.steerable import Steerable
    from nbopt.run.session.viewer import Kind
    from nbopt.run.session.work import Work
    from nbopt.search.study import Study


def mimebundle(run: Steerable) -> dict[str, Any]:
    """Return the live panel, as a cell's result, and put its still picture below: see `nbopt.notebook.static_view`."""
    announce(run)
    panel = panel_of(run)
    CELLS.shows(panel)
    panel.still.display()
    return bundle(panel.family, repr(run))


def population(population: Crowd) -> dict[str, Any]:
    """Return the panel of a population, as a cell's result, and put its still picture below."""
    panel = panel_of_population(population)
    CELLS.shows(panel)
    panel.still.display()
    return bundle(panel.family, repr(population))


def study(study: Study) -> dict[str, Any]:
    """Return the panel of a study, as a cell's result, and put its still picture below."""
    from nbopt.notebook.study.panel import panel_of as panel_of_study  # few notebooks have one

    panel = panel_of_study(study)
    CELLS.shows(panel)
    panel.still.display()
    return bundle(panel.family, repr(study))


def show(run: Driven) -> None:
    """Put the panel under the running cell."""
    display(run)  # type: ignore[no-untyped-call]


def sweep(sweep: Sweep) -> dict[str, Any]:
    """Return the chart of a learning-rate sweep, as a cell's result."""
    chart = FinderChart(sweep)
    CELLS.shows(chart)
    return bundle(chart.widget, repr(sweep))


def follow() -> Callable[[Work], None] | None:
    """Return what shows in a line below the running cell how far this thread's work is; None where no cell runs."""
    shell = get_ipython()
    if not hasattr(shell, "kernel") or threading.current_thread() is not threading.main_thread():
        return None
    line: list[DisplayHandle] = []

    def tell(work: Work) -> None:
        hint = "" if work.is_over else " · " + _("interrupt the kernel to stop it")
        text = work.words + hint
        bar = f'<progress max="1" value="{work.share:.3f}" style="vertical-align:middle"></progress> '
        told = {"text/plain": text, "text/html": f"<div>{'' if work.is_over else bar}{html.escape(text)}</div>"}
        if line:
            line[0].update(told, raw=True)  # type: ignore[no-untyped-call]
        elif (handle := display(told, raw=True, display_id=True)) is not None:  # type: ignore[no-untyped-call]
            line.append(handle)

    return tell


def made(thing: Driven, kind: Kind = "run") -> None:
    """Take note of what was made, and by which cell; tell JupyterLab of it, and have the page get ready to show it."""
    CELLS.made(thing)
    if kind == "population":
        enter(thing, lambda population: in_short(facts_of_population(population)))
    elif kind == "study":
        enter(thing, _facts_of_study)
    if hasattr(get_ipython(), "kernel"):
        load_page_ahead()
        announce(thing)


def _facts_of_study(study: Any) -> list[str]:
    from nbopt.notebook.study.facts import facts_of as facts_of_study

    return in_short(facts_of_study(study, study.trials))
