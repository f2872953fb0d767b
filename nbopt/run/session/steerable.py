"""`Steerable`: what a panel needs of a session, whatever trains in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from nbopt.record.history import History
from nbopt.record.snapshots import Snapshot, Snapshots
from nbopt.run.session.operable import Ability as Ability
from nbopt.run.session.operable import Adjustable, Operable
from nbopt.run.session.work import Work
from nbopt.techniques.base import Technique
from nbopt.training.device import Device


class Steerable(Operable, Adjustable, Protocol):
    """What can be shown in a panel and steered there: a run, or a loop of the user's own.

    A panel looks at ``abilities``, and shows nothing of what is not among them.
    """

    speed: float | None  # steps a second at most
    work: Work | None  # that somebody waits for now
    techniques: tuple[Technique, ...]  # its user's own

    @property
    def created(self) -> float:
        """When it was made, in seconds since the epoch."""

    @property
    def parent(self) -> str | None:
        """The ``id`` of the one that it branched off or repeats."""

    @property
    def device(self) -> Device | None:
        """Where it trains, if that is known."""

    @property
    def history(self) -> History:
        """What was measured."""

    @property
    def measures(self) -> Sequence[str]:
        """The measurements that have a chart from the beginning."""

    @property
    def later_measures(self) -> Sequence[str]:
        """Those that have a chart once they are measured."""

    @property
    def last_step(self) -> int | None:
        """The number of steps with which it ends; None where that is not known."""

    @property
    def stopping(self) -> Any:
        """The best validation so far, ``best`` at ``best_step``; None where nothing is validated yet."""

    @property
    def technique_facts(self) -> list[tuple[str, str]]:
        """What techniques tell of where they are: names and values."""

    @property
    def snapshots(self) -> Snapshots:
        """The states to go back to."""

    @property
    def exact(self) -> bool | None:
        """Whether steps done again gave what they gave the first time."""

    @property
    def exactness(self) -> str:
        """The same in words."""

    @property
    def notes(self) -> Sequence[str]:
        """What else there is to say of how it trains."""

    @property
    def caution(self) -> str:
        """What is not as one would expect, in words, as weights that another one trains too; "" if all is."""

    @property
    def opening(self) -> str:
        """The code that opens it again from the store."""

    def resume(self, *, wait: bool = True, source: str = "code") -> None:
        """Go on."""

    def rewind(self, to: int | str | Snapshot, *, source: str = "code") -> None:
        """Go back."""

    def branch(self, at: int | str | Snapshot = "best", *, source: str = "code") -> Steerable:
        """Return another one that goes on from there."""
