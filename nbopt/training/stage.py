"""`Stage`: where a session stands, and what its changes act on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple, Protocol

import torch

from nbopt.record.snapshots import Snapshots
from nbopt.techniques.plan import Plan


class Done(NamedTuple):
    """What an operation did.

    Attributes
    ----------
    detail : object
        For the journal.
    carried : str
        What it took over from before, in words.
    """

    detail: Any
    carried: str = ""


class Stage(Protocol):
    """Where a session stands, and what its changes act on.

    Of a run, this is `NotBegun` and, once its data are known, `nbopt.training.begun.Begun`. A loop that is not nbopt's
    own has another.
    """

    @property
    def step(self) -> int:
        """Steps completed."""

    @property
    def epoch(self) -> int:
        """Epochs completed."""

    @property
    def progress(self) -> float:
        """Epochs completed, the current one counted in part."""

    @property
    def share(self) -> float:
        """The part of the whole that is done, from 0 to 1."""

    @property
    def plan(self) -> Plan | None:
        """How long it is; None where the hyperparameters say it, if anything does."""

    @property
    def steps_per_second(self) -> float | None:
        """Recent speed; None before it is known."""

    @property
    def judge(self) -> Any:
        """What has the best validation so far, ``best`` at ``best_step``; None where nothing is validated yet."""

    @property
    def technique_facts(self) -> list[tuple[str, str]]:
        """What techniques tell of where they are, as the patience left: names and values."""

    @property
    def several(self) -> set[str]:
        """The hyperparameters whose value shown is not what acts everywhere: setting just that still acts."""

    @property
    def optimizer(self) -> torch.optim.Optimizer | None:
        """The torch optimizer at work."""

    @property
    def snapshots(self) -> Snapshots:
        """The states kept in memory, to go back to."""

    @property
    def tier(self) -> str:
        """How steps are done, in words; "" where nothing is to be said."""

    @property
    def converted(self) -> str:
        """What types of numbers the data were converted from and to, in words; "" if none were."""

    @property
    def validation_due(self) -> bool:
        """Whether a validation is to come before any change."""

    def flush(self) -> None:
        """Look at what was measured so far."""

    def release(self) -> None:
        """Let go what costs something while nothing trains."""

    def at_rest(self) -> AbstractContextManager[None]:
        """Have changes made in a ``with`` block while nobody trains; they are known from those made by hand."""

    def changing(self, name: str) -> AbstractContextManager[None]:
        """Have a change made in a ``with`` block; one that is interrupted there leaves a trace."""

    def changed(self, name: str) -> str:
        """React to a new value of a hyperparameter; return what that took over, in words."""

    def take_resettled(self) -> dict[str, Any]:
        """Return the hyperparameters that the user set in the optimizer itself since this was last asked."""

    def take_tuning(self) -> dict[str, Any] | None:
        """Return what the user changed in the model itself since this was last asked; None if nothing."""

    def do(self, name: str, value: Any) -> Done | None:
        """Do an operation of the journal that sets no value; return None if it changed nothing."""


class NotBegun:
    """The stage of a session that has not begun: nothing is done, and changes only set values.

    Parameters
    ----------
    several : set of str
        Hyperparameters whose value shown stands for several of the model's own.
    """

    step = epoch = 0
    progress = share = 0.0
    plan: Plan | None = None
    steps_per_second: float | None = None
    judge: Any = None
    optimizer: torch.optim.Optimizer | None = None
    tier = converted = ""
    validation_due = False

    def __init__(self, several: set[str] | None = None) -> None:
        self.several = set() if several is None else several
        self.technique_facts: list[tuple[str, str]] = []
        self.snapshots = Snapshots()

    def flush(self) -> None:
        """Do nothing: nothing was measured."""

    def release(self) -> None:
        """Do nothing: nothing was taken."""

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Have changes made in a ``with`` block."""
        yield

    @contextmanager
    def changing(self, name: str) -> Iterator[None]:
        """Have a change made in a ``with`` block."""
        yield

    def changed(self, name: str) -> str:
        """Take note that a value is what acts."""
        self.several.discard(name)
        return ""

    def take_resettled(self) -> dict[str, Any]:
        """Return none: settings of an optimizer that is given are what the run is made with."""
        return {}

    def take_tuning(self) -> dict[str, Any] | None:
        """Return None: what the user makes of the model before the start is what the run is made with."""
        return None

    def do(self, name: str, value: Any) -> Done | None:
        """Raise RuntimeError: there is nothing yet that could be done."""
        raise RuntimeError(f"{name}: nothing has begun yet")
