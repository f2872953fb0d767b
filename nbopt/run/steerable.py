"""`Steerable`: what a panel needs of a session, whatever trains in it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from nbopt.hyperparams import Hyperparams
from nbopt.record.history import History
from nbopt.record.journal import Journal
from nbopt.record.snapshots import Snapshot, Snapshots
from nbopt.run.work import Work
from nbopt.techniques.base import Technique
from nbopt.techniques.plan import Plan
from nbopt.training.device import Device
from nbopt.training.state import RunState

Ability = Literal["start", "pause", "step", "stop", "rewind", "branch", "open", "pace"]
"""What some sessions can do and others cannot: be asked for by the method of that name; be opened from the store; or
keep to a ``speed``."""


class Steerable(Protocol):
    """What can be shown in a panel and steered there: a run, or a loop of the user's own.

    A panel looks at ``abilities``, and shows nothing of what is not among them.
    """

    watchers: list[Callable[[], None]]
    inert: dict[str, str]
    speed: float | None  # steps a second at most
    work: Work | None  # that somebody waits for now
    techniques: tuple[Technique, ...]  # its user's own

    @property
    def abilities(self) -> Collection[Ability]:
        """What it can do."""

    @property
    def id(self) -> str:
        """What it is called in the store, and by its branches."""

    @property
    def name(self) -> str:
        """What lists and panels call it."""

    @property
    def created(self) -> float:
        """When it was made, in seconds since the epoch."""

    @property
    def parent(self) -> str | None:
        """The ``id`` of the one that it branched off or repeats."""

    @property
    def store(self) -> Path | None:
        """The folder that keeps it."""

    @property
    def device(self) -> Device | None:
        """Where it trains, if that is known."""

    @property
    def hyperparams(self) -> Hyperparams:
        """What can be changed, and the values that act."""

    @property
    def given(self) -> frozenset[str]:
        """The hyperparameters that were given by name."""

    @property
    def pending(self) -> Collection[str]:
        """The hyperparameters asked for whose new values do not act yet."""

    @property
    def history(self) -> History:
        """What was measured."""

    @property
    def journal(self) -> Journal:
        """What was changed and what happened."""

    @property
    def measures(self) -> Sequence[str]:
        """The measurements that have a chart from the beginning."""

    @property
    def later_measures(self) -> Sequence[str]:
        """Those that have a chart once they are measured."""

    @property
    def state(self) -> RunState:
        """Where it is in its life."""

    @property
    def error(self) -> BaseException | None:
        """The exception that ended it."""

    @property
    def end_reason(self) -> str:
        """Why it ended, in words."""

    @property
    def step_count(self) -> int:
        """Steps completed."""

    @property
    def epoch(self) -> int:
        """Epochs completed."""

    @property
    def share(self) -> float:
        """The part that is done, from 0 to 1."""

    @property
    def plan(self) -> Plan:
        """How long it is."""

    @property
    def steps_per_second(self) -> float | None:
        """Recent speed."""

    @property
    def seconds_left(self) -> float | None:
        """Seconds to its end."""

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

    def set(self, *, source: str = "code", **changes: Any) -> None:
        """Ask for new values."""

    def start(self, *, wait: bool = True, source: str = "code") -> None:
        """Train."""

    def resume(self, *, wait: bool = True, source: str = "code") -> None:
        """Go on."""

    def step(self, n: int = 1, *, wait: bool = True, source: str = "code") -> None:
        """Do some steps."""

    def pause(self, *, wait: bool = True, source: str = "code") -> None:
        """Rest."""

    def stop(self, *, wait: bool = True, source: str = "code") -> None:
        """End."""

    def rewind(self, to: int | str | Snapshot, *, source: str = "code") -> None:
        """Go back."""

    def branch(self, at: int | str | Snapshot = "best", *, source: str = "code") -> Steerable:
        """Return another one that goes on from there."""

    def release_workers(self) -> None:
        """Let go what costs something while it rests."""

    def watch(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` from now on whenever state or journal changed."""

    def unwatch(self, wake: Callable[[], None]) -> None:
        """Stop calling ``wake``."""
