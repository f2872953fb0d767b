"""What a panel needs of a population: many that train as one, each with values of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from nbopt.record.history import History
from nbopt.run.session.operable import Adjustable, Operable
from nbopt.run.session.steerable import Steerable
from nbopt.training.state import RunState


class Individual(Adjustable, Protocol):
    """One of them."""

    number: int
    seed: int

    @property
    def history(self) -> History:
        """What was measured."""

    @property
    def state(self) -> RunState:
        """Where it is in its life."""

    @property
    def end_reason(self) -> str:
        """Why it ended, in words."""

    @property
    def step_count(self) -> int:
        """Steps completed."""

    @property
    def stopping(self) -> Any:
        """The best validation so far, ``best`` at ``best_step``; None where nothing is validated yet."""


class Crowd(Operable, Protocol):
    """All of them."""

    @property
    def best(self) -> Individual | None:
        """The one with the lowest validation loss so far."""

    @property
    def tier(self) -> str:
        """How steps are done, in words, and why."""

    @property
    def inert(self) -> Mapping[str, str]:
        """The hyperparameters that cannot act, each with the reason."""

    @property
    def shared(self) -> set[str]:
        """The hyperparameters that are one for all."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Individual]: ...

    def __getitem__(self, index: int) -> Individual: ...

    def set(self, *, members: Iterable[int] | None = None, source: str = "code", **changes: Any) -> None:
        """Ask for new values of all or some."""

    def stop(self, members: Iterable[int] | None = None, *, wait: bool = True, source: str = "code") -> None:
        """End all or some."""

    def clone(self, i: int, into: int, *, source: str = "code", **changes: Any) -> Individual:
        """Put a copy of one in the place of another."""

    def run(self, i: int) -> Steerable:
        """Return a run that goes on from where one is."""
