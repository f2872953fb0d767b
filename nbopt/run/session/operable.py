"""What parts of a panel need of what they show: buttons of what trains, controls of what has hyperparameters."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from nbopt.hyperparams import Hyperparams
from nbopt.record.journal import Journal
from nbopt.techniques.plan import Plan
from nbopt.training.state import RunState

Ability = Literal["start", "pause", "step", "stop", "rewind", "branch", "open", "pace", "what_if"]
"""What some sessions can do and others cannot: be asked for by the method of that name; be opened from the store; keep
to a ``speed``; or tell what other values would do."""


class Adjustable(Protocol):
    """What has hyperparameters that can be changed: a run, or some members of a population."""

    @property
    def hyperparams(self) -> Hyperparams:
        """What can be changed, and the values that act."""

    @property
    def pending(self) -> Collection[str]:
        """The hyperparameters asked for whose new values do not act yet."""

    @property
    def inert(self) -> Mapping[str, str]:
        """The hyperparameters that cannot act, each with the reason."""

    @property
    def given(self) -> frozenset[str]:
        """The hyperparameters that were given by name."""

    @property
    def store(self) -> Path | None:
        """The folder that keeps it, and the presets with it."""

    @property
    def journal(self) -> Journal:
        """What was changed and what happened."""

    def set(self, *, source: str = "code", **changes: Any) -> None:
        """Ask for new values."""


class Driven(Protocol):
    """What is started, paused and stopped: a run, a population, or a study."""

    watchers: list[Callable[[], None]]

    @property
    def abilities(self) -> Collection[Ability]:
        """What it can do."""

    @property
    def id(self) -> str:
        """What it is called in pages."""

    @property
    def name(self) -> str:
        """What lists and panels call it."""

    @property
    def journal(self) -> Journal:
        """What was changed and what happened."""

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
        """Steps completed; of a study, its trials."""

    @property
    def share(self) -> float:
        """The part that is done, from 0 to 1."""

    def start(self, *, wait: bool = True, source: str = "code") -> None:
        """Train."""

    def pause(self, *, wait: bool = True, source: str = "code") -> None:
        """Rest."""

    def stop(self, *, wait: bool = True, source: str = "code") -> None:
        """End."""

    def release_workers(self) -> None:
        """Let go what costs something while it rests."""

    def watch(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` from now on whenever state or journal changed."""

    def unwatch(self, wake: Callable[[], None]) -> None:
        """Stop calling ``wake``."""


class Operable(Driven, Protocol):
    """What does steps under a plan: a run, or a population."""

    @property
    def hyperparams(self) -> Hyperparams:
        """What can be changed, and the values that act."""

    @property
    def epoch(self) -> int:
        """Epochs completed."""

    @property
    def plan(self) -> Plan:
        """How long it is."""

    @property
    def steps_per_second(self) -> float | None:
        """Recent speed."""

    @property
    def seconds_left(self) -> float | None:
        """Seconds to its end."""

    def set(self, *, source: str = "code", **changes: Any) -> None:
        """Ask for new values."""

    def step(self, n: int = 1, *, wait: bool = True, source: str = "code") -> None:
        """Do some steps."""
