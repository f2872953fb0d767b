"""What sessions ask of a notebook, which they do not know."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol

from nbopt.run.session.operable import Driven
from nbopt.run.session.steerable import Steerable
from nbopt.run.session.work import Work

Kind = Literal["run", "population", "study"]


class Viewer(Protocol):
    """What a notebook does with sessions."""

    def mimebundle(self, session: Steerable) -> dict[str, Any]:
        """Return the panel, as a cell's result."""

    def population(self, population: Any) -> dict[str, Any]:
        """Return the panel of a population, as a cell's result."""

    def study(self, study: Any) -> dict[str, Any]:
        """Return the panel of a study, as a cell's result."""

    def show(self, session: Driven) -> None:
        """Put the panel under the running cell."""

    def sweep(self, sweep: Any) -> dict[str, Any]:
        """Return the chart of a learning-rate sweep, as a cell's result."""

    def follow(self) -> Callable[[Work], None] | None:
        """Return what shows below the running cell how far work is that this thread does; None where no cell runs."""

    def made(self, session: Driven, kind: Kind = "run") -> None:
        """Take note of a new one, before it has done anything."""
