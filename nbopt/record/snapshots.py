"""Snapshots: all that a run's future depends on, at one step, and the shelf that keeps some of them in memory."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, overload

from torch import Tensor

from nbopt.errors import InvalidHyperparam, unknown
from nbopt.i18n import _
from nbopt.record.memory import available_memory

BUDGET = 512 * 2**20
"""Bytes that a run's snapshots may take in memory."""

MOST = 1000
"""Snapshots of a run in memory: of a small model, thousands would take less than what holds them."""

FEW = 12
"""Snapshots that may take more, up to `SHARE` of the memory that is available."""

SHARE = 0.25

_FACTS_BYTES = 2**13  # what a snapshot takes beside its tensors, and a tensor beside its numbers, about
_TENSOR_BYTES = 2**9


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
        Bytes. `FEW` snapshots may take more where memory is plenty: a `SHARE` of what is available. The first, the best
        and the newest stay even beyond that, and there are never more than `MOST`.
    available : callable
        Returns how many bytes of memory are available.
    """

    def __init__(self, budget: int = BUDGET, available: Callable[[], int] = available_memory) -> None:
        self.budget = budget
        self._available = available
        self.best: Snapshot | None = None
        self.best_step: int | None = None  # of a past that no snapshot was taken over of
        self._lock = threading.Lock()
        self._shelf: list[Snapshot] = []
        self._bytes = self._noted = 0  # of how many snapshots
        self._holders: Counter[int] = Counter()  # by the id of a tensor, how many of them hold it

    def add(self, snapshot: Snapshot, best: bool = False) -> None:
        """Put a snapshot on the shelf, in place of an earlier one of the same step."""
        with self._lock:
            if self._noted != len(self._shelf):  # an interrupt came in between
                self._put(self._shelf)
            if len(self._shelf) > 1 and self._shelf[-1].step == snapshot.step:
                self._forget(self._shelf.pop())
            self._shelf.append(snapshot)
            self._note(snapshot)
            if best:
                self.best = snapshot
            while self._are_too_many() and (spare := self._spare()):
                self._shelf.remove(spare)
                self._forget(spare)

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
            self._put([first])
            self.best = self.best_step = None

    def forget_after(self, step: int) -> None:
        """Drop the snapshots of a future that was given up."""
        with self._lock:
            self._put([snapshot for snapshot in self._shelf if snapshot.step <= step])
            if self.best is not None and self.best.step > step:
                self.best = None
            if self.best_step is not None and self.best_step > step:
                self.best_step = None

    @property
    def nbytes(self) -> int:
        """Bytes in memory; tensors that several snapshots share count once."""
        return self._bytes

    def _put(self, shelf: list[Snapshot]) -> None:
        self._shelf, self._bytes, self._noted, self._holders = shelf, 0, 0, Counter()
        for snapshot in shelf:
            self._note(snapshot)

    def _note(self, snapshot: Snapshot) -> None:
        self._bytes += _FACTS_BYTES
        for tensor in snapshot.tensors.values():
            self._holders[id(tensor)] += 1
            if self._holders[id(tensor)] == 1:
                self._bytes += tensor.nbytes + _TENSOR_BYTES
        self._noted += 1

    def _forget(self, snapshot: Snapshot) -> None:
        self._noted -= 1
        self._bytes -= _FACTS_BYTES
        for tensor in snapshot.tensors.values():
            self._holders[id(tensor)] -= 1
            if not self._holders[id(tensor)]:
                del self._holders[id(tensor)]
                self._bytes -= tensor.nbytes + _TENSOR_BYTES

    def _are_too_many(self) -> bool:
        size, count = self.nbytes, len(self._shelf)
        if size <= self.budget or count > FEW:
            return size > self.budget or count > MOST
        return size > SHARE * (self._available() + size)

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
        return f"Snapshots({[snapshot.step for snapshot in self]}, {self.nbytes / 1e6:,.1f} MB)"

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
        if to == "best" and self.best_step is not None:
            return self.best_step
        if isinstance(to, int) and not isinstance(to, bool) and 0 <= to <= newest:
            return to
        if isinstance(to, str) and to == "best":
            raise InvalidHyperparam(_("there is no best step yet: none was validated, or none since it began anew."))
        raise unknown(_("point to go to"), to, [_("a step from 0 to {newest}", newest=newest), "best", _("a snapshot")])
