"""The states of a run, and the events its loop yields."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from nbopt.record.journal import Entry


class RunState(Enum):
    """Where a run is in its life.

    CREATED -> RUNNING <-> PAUSED; from either to FINISHED (its epochs done, or early stopping), STOPPED (by hand) or
    FAILED (an exception, in `Run.error`). `Run.resume` goes on from any of them.

    Examples
    --------
    >>> run.state
    <RunState.CREATED: 'created'>
    >>> run.fit().state is nbopt.RunState.FINISHED
    True
    """

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"

    @property
    def is_ended(self) -> bool:
        """Whether nothing trains until someone resumes."""
        return self in (RunState.FINISHED, RunState.STOPPED, RunState.FAILED)


class Ending(NamedTuple):
    """Where a replay ends, and as what."""

    step: float
    state: RunState
    reason: str


class Changed(NamedTuple):
    """Changes were applied, between two steps."""

    entries: list[Entry]


class Recovered(NamedTuple):
    """Trouble was put right."""

    entries: list[Entry]


class Stepped(NamedTuple):
    """Step number ``step`` (counted from 0) is done; ``steps`` of them since the last event, if compiled together."""

    step: int
    steps: int = 1


class Evaluating(NamedTuple):
    """Part of a validation is done."""

    step: int


class Validated(NamedTuple):
    """A validation is complete, after ``step`` steps."""

    step: int


class Finished(NamedTuple):
    """There is nothing left to do."""

    step: int
    reason: str


Event = Changed | Recovered | Stepped | Evaluating | Validated | Finished


class Bound(NamedTuple):
    """Where a run is going back to, while it does: to ``step``, or where a rewind journaled since says.

    Attributes
    ----------
    step : int
    entries : int
        Entries of the journal when it set out.
    """

    step: int
    entries: int
