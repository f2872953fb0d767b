"""How runs show themselves in a notebook.

Imported with the engine where a notebook listens: half a second for the widgets (bqplot brings pandas) is then spent
beside the other imports, and not between a cell and its panel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbopt.notebook.cells import CELLS
from nbopt.notebook.panel.lr_finder import FinderChart
from nbopt.notebook.panel.panel import announce, panel_of

if TYPE_CHECKING:
    from nbopt.run.lr_finder import Sweep
    from nbopt.run.steerable import Steerable


def mimebundle(run: Steerable) -> dict[str, Any]:
    """Return the live panel, as a cell's result, and put its still picture below: see `nbopt.notebook.static_view`."""
    announce(run)
    panel = panel_of(run)
    CELLS.shows(panel)
    panel.still.display()
    return {**panel.family._repr_mimebundle_(), "text/plain": repr(run)}


def show(run: Steerable) -> None:
    """Put the panel under the running cell."""
    from IPython.display import display

    display(run)  # type: ignore[no-untyped-call]


def sweep(sweep: Sweep) -> dict[str, Any]:
    """Return the chart of a learning-rate sweep, as a cell's result."""
    chart = FinderChart(sweep)
    CELLS.shows(chart)
    return {**chart.widget._repr_mimebundle_(), "text/plain": repr(sweep)}


def made(run: Steerable) -> None:
    """Take note of which cell made the run."""
    CELLS.made(run)
