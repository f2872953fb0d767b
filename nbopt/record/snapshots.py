"""Snapshots: all that a run's future depends on, at one step, and the shelf that keeps some of them in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, overload

from torch import Tensor

from nbopt.names import unknown
from nbopt.words import _

BUDGET = 512 * 2**20
"""Bytes that a run's snapshots may take in memory."""


class Snapshot(NamedTuple):
    """The state of a run after ``step`` steps, before any change made there.

    Noise and order are drawn from (seed, step) and (seed, epoch): with these, step and cursor say all of them.

    Attributes
    ----------
    step : int
    tensors : dict of str to Tensor
        Copies of weights, buffers and optimizer state, on the CPU, by dotted name. Never written to.
    facts : dict
        The rest, as JSON can hold it: hyperparameters, cursor, early stopping, clock.
    """

    step: int
    tensors: dict[str, Tensor]
    facts: dict[str, Any]

    def __repr__(self) -> str:
        return f"Snapshot(step={self.step}, {len(self.tensors)} tensors)"


class Snapshots(Sequence[Snapshot]):
    """A run's snapshots in order of step: the first, the best, the newest, and of the others what the budget allows.

    Dense in the recent past, sparse in the far past: when memory runs short, the one goes whose neighbours are closest
    to each other compared with how long ago it was.

    Parameters
    ----------
    budget : int
        Bytes. The first, the best and the newest stay even beyond it.
    """

    def __init__(self, budget: int = BUDGET) -> None:
        self.budget = budget
        self.best: Snapshot | None = None
        self._shelf: list[Snapshot] = []
        self._lock = threading.Lock()

    def add(self, snapshot: Snapshot, best: bool = False) -> None:
        """Put a snapshot on the shelf, in place of an earlier one of the same step."""
        with self._lock:
            if len(self._shelf) > 1 and self._shelf[-1].step == snapshot.step:
                self._shelf.pop()
            self._shelf.append(snapshot)
            if best:
                self.best = snapshot
            while len(self._shelf) > 2 and self.nbytes > self.budget and (spare := self._spare()):
                self._shelf.remove(spare)

    def before(self, step: int) -> Snapshot:
        """Return the newest snapshot taken at ``step`` or earlier.

        Raises
        ------
        LookupError
            If there is none: the run has not started.
        """
        with self._lock:
            found = [snapshot for snapshot in self._shelf if snapshot.step <= step]
        if not found:
            raise LookupError(_("there is no snapshot at step {step} or before.", step=step))
        return found[-1]

    def clear(self, first: Snapshot) -> None:
        """Begin anew, with ``first`` alone."""
        with self._lock:
            self._shelf, self.best = [first], None

    def forget_after(self, step: int) -> None:
        """Drop the snapshots of a future that was given up."""
        with self._lock:
            self._shelf = [snapshot for snapshot in self._shelf if snapshot.step <= step]
            if self.best is not None and self.best.step > step:
                self.best = None

    @property
    def nbytes(self) -> int:
        """Bytes in memory; tensors that several snapshots share count once."""
        sizes = {id(tensor): tensor.nbytes for snapshot in self._shelf for tensor in snapshot.tensors.values()}
        return sum(sizes.values())

    def _spare(self) -> Snapshot | None:
        shelf, newest = self._shelf, self._shelf[-1].step
        costs = {
            (shelf[k + 1].step - shelf[k - 1].step) / (newest - shelf[k].step + 1): shelf[k]
            for k in range(1, len(shelf) - 1)
            if shelf[k] is not self.best
        }
        return costs[min(costs)] if costs else None

    @overload
    def __getitem__(self, index: int) -> Snapshot: ...
    @overload
    def __getitem__(self, index: slice) -> list[Snapshot]: ...
    def __getitem__(self, index: int | slice) -> Snapshot | list[Snapshot]:
        return self._shelf[index]

    def __len__(self) -> int:
        return len(self._shelf)

    def __iter__(self) -> Iterator[Snapshot]:
        return iter(list(self._shelf))

    def __repr__(self) -> str:
        return f"Snapshots({[snapshot.step for snapshot in self]})"

    def find(self, to: int | str | Snapshot, newest: int) -> int:
        """Return the step that ``to`` means: a step up to ``newest``, ``"best"`` or a snapshot.

        Raises
        ------
        InvalidHyperparam
            If it is none of these, or there is no best one yet.
        """
        if isinstance(to, Snapshot):
            return to.step
        if to == "best" and self.best is not None:
            return self.best.step
        if isinstance(to, int) and not isinstance(to, bool) and 0 <= to <= newest:
            return to
        raise unknown(_("point to go to"), to, [_("a step from 0 to {newest}", newest=newest), "best", _("a snapshot")])
