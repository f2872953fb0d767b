"""The runs that an explorer shows beside its own: those of one family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nbopt.run.session.registry import live_runs
from nbopt.run.trained import TrainedSession
from nbopt.training.state import RunState


def next_other(own: TrainedSession, known: Mapping[str, Any]) -> TrainedSession | None:
    """Return a run of a run's family that is at rest, where it was not looked at yet.

    Parameters
    ----------
    own : TrainedSession
    known : mapping of str to tuple
        By ``id``, where runs were (`stamp_of`) when they were looked at.
    """
    live: dict[str | None, TrainedSession] = {run.id: run for run in live_runs() if isinstance(run, TrainedSession)}
    root = find_root(own, live)
    for run in live.values():
        is_of_it = run is not own and run.has_begun and find_root(run, live) == root
        if is_of_it and run.state is not RunState.RUNNING and known.get(run.id) != stamp_of(run):
            return run
    return None


def stamp_of(run: TrainedSession) -> tuple[int, int]:
    """Return what tells whether a run is where it was."""
    return run.step_count, len(run.journal)


def find_root(run: TrainedSession, live: Mapping[str | None, TrainedSession]) -> str:
    """Return the first run that a run branched off, or a branch of that one, of those that are ``live``."""
    while run.parent in live:
        run = live[run.parent]
    return run.parent or run.id
