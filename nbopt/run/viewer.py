"""What the engine asks of a notebook, which it does not know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from nbopt.run.lr_finder import Sweep
    from nbopt.run.run import Run


class Viewer(Protocol):
    """What a notebook does with runs."""

    def mimebundle(self, run: Run) -> dict[str, Any]:
        """Return the panel, as a cell's result."""

    def show(self, run: Run) -> None:
        """Put the panel under the running cell."""

    def sweep(self, sweep: Sweep) -> dict[str, Any]:
        """Return the chart of a learning-rate sweep, as a cell's result."""

    def made(self, run: Run) -> None:
        """Take note of a new run, before it has done anything."""
