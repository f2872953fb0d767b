"""What keeps a population beyond its process, as those who change the population know it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Protocol

from nbopt.record.ledger import Ledger
from nbopt.run.population.member import Member
from nbopt.store.recorder import Recorder


class Kept(Protocol):
    """See `nbopt.run.population.keeping.Keeping`."""

    folder: Path
    ledger: Ledger

    @property
    def recorder(self) -> Recorder:
        """Who stores it."""

    def begin(self, samples: list[Any] | None) -> None:
        """Capture where members begin, unless that is done."""

    def take_if_due(self) -> None:
        """Capture where members are, if the last time is long enough ago; between two steps of all of them."""

    def take(self) -> None:
        """Capture where members are, unless something is to be put right first."""

    def replace(self, member: Member, original: int) -> None:
        """Take note that a copy of another member is about to take the place of one."""


def at_once(keeping: Kept | None) -> AbstractContextManager[None]:
    """Have what is journaled in a ``with`` block stored together, or none of it."""
    return nullcontext() if keeping is None else keeping.ledger.at_once()
