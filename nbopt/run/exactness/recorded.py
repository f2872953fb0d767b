"""What a run measured the first time, for steps done again to be held against it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbopt.record.column import Numbers
from nbopt.record.history import History
from nbopt.record.journal import SWITCH, Journal, Operation


class Recorded(NamedTuple):
    """What a run measured the first time, and what was done to it on the way.

    Attributes
    ----------
    series : dict of str to (steps, values)
        In order of steps; as they were then, whatever their owner appends later.
    operations : list of Operation
        In order of steps.
    made_with : mapping
        See `nbopt.run.stored.fingerprint.circumstances`.
    """

    series: dict[str, tuple[Numbers, NDArray[np.float64]]]
    operations: list[Operation]
    made_with: Mapping[str, Any]

    @classmethod
    def of(cls, history: History, journal: Journal, made_with: Mapping[str, Any]) -> Recorded:
        """Take note of a history and a journal as they are now."""
        series = {name: track.read() for name, track in list(history.tracks.items()) if not name.startswith("_")}
        return cls(series, in_order(journal), made_with)

    @property
    def end(self) -> int:
        """The step after the last that is known."""
        return max((int(steps[-1]) + 1 for steps, _values in self.series.values() if len(steps)), default=0)


def in_order(journal: Journal) -> list[Operation]:
    """Return what led a run to where it is, in order of steps."""
    return sorted(journal.schedule(), key=lambda operation: operation.step)


def are_alike(one: Operation, other: Operation) -> bool:
    """Whether two operations are the same, whoever asked for them."""
    if one.name == other.name == SWITCH:  # whose words tell of speed, too
        return one.step == other.step and bool(one.value.get("steps") == other.value.get("steps"))
    return one[:3] == other[:3]


def find_places(recorded: Numbers, steps: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return which of ``steps`` were recorded, once each, and where.

    Parameters
    ----------
    recorded : range or ndarray of shape (n,)
        In order.
    steps : ndarray of shape (m,)

    Returns
    -------
    ndarray of bool, ndarray of int64, each of shape (m,)
    """
    if isinstance(recorded, range):
        places = (steps - recorded.start) // recorded.step
        inside = (places >= 0) & (places < len(recorded))
        return inside & ((steps - recorded.start) % recorded.step == 0), places
    places = np.searchsorted(recorded, steps)
    once = np.searchsorted(recorded, steps, side="right") - places == 1
    return once, places
