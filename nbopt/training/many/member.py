"""The training of one run among many: what a step of it costs beside the step is as little as can be."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from nbopt.training.compile.reads import Reads
from nbopt.training.loss_buffer import Block
from nbopt.training.step.mode import StepModes
from nbopt.training.training import Training

Found = TypeVar("Found")

_SNAPSHOTS = 0.01  # the part of all the training's time that the snapshots of all may take, by what the first cost
_FLUSH_SECONDS = (
    2e-3  # between two looks at measured losses, times how many runs there are: a look takes 30 microseconds
)
_MOST_LATE = 8  # times as long, where somebody waits for what comes next


class Untiered(StepModes):
    """Stands where a run has its tiers: whoever steps the many decides how.

    Attributes
    ----------
    version : int
        Counts the changes of what steps are done with.
    """

    version = 0

    def note_change(self) -> None:
        """Take note that a hyperparameter, or what steps are done with, changed."""
        self.version += 1

    def due(self) -> dict[str, Any] | None:
        """Return None: there is no other tier."""
        return None

    def look(self) -> None:
        """Think of nothing."""

    def reads(self) -> Reads:
        """Return what the model's code reads now; nobody exchanges the model's parts by hand."""
        assert isinstance(self._training, OneOfMany)
        found = self._training.find(_read)
        return _read(self._training) if found.watched.find_change() else found


class OneOfMany(Training):
    """Trains as a run does; whoever steps it steps others as well.

    Nobody changes its model by hand, and it is not compiled by itself: neither is looked at. Snapshots are as much
    rarer as there are more of its kind, and of the best so far only the weights are kept.
    """

    tiers: Untiered
    tiers_of = Untiered

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._found: dict[Any, tuple[int, Any]] = {}
        super().__init__(*args, **kwargs)

    def find(self, what: Callable[[OneOfMany], Found]) -> Found:
        """Return what a function finds out about this run; it is asked again where something changed."""
        version, known = self.tiers.version, self._found.get(what)
        if known is None or known[0] != version:
            known = self._found[what] = version, what(self)
        found: Found = known[1]
        return found

    def live_among(self, count: int) -> None:
        """Take note of how many there are."""
        self.meter.flush_seconds = max(self.meter.flush_seconds, _FLUSH_SECONDS * count)
        self.securing.share_among(_SNAPSHOTS / count)

    @property
    def is_settled(self) -> bool:
        """Whether it rests between two steps, and nothing is to be looked at before the next."""
        return not (self.trouble or self.validation_due or self.is_half_way)

    def advance(self, count: int, hurry: bool = False) -> None:
        """Take note that ``count`` steps are done: go on to the next batch, and look at what is due.

        Where somebody waits for what is to be done next, in a ``hurry``, losses are moved later.
        """
        self.step += count
        if done := self.cursor.advance(count):
            self.end_epoch(done)
        plan = self.plan
        if (plan.validate_every or plan.steps) and plan.validates_step(self.step):
            self.validation_due = self.may_end = True
        self.half_done = False
        if time.perf_counter() >= self.meter.due + (_MOST_LATE * self.meter.flush_seconds if hurry else 0.0):
            self.flush()

    def take_block(self, block: Block, number: int, count: int, hurry: bool = False) -> int:
        """Take note of steps that were done, whose losses are those of run ``number`` of a block; return how many."""
        self.meter.take_block(block, number, count)
        self.advance(count, hurry)
        return count

    def room(self, most: int) -> int:
        """Return how many steps may be done at once, ``most`` at most: nothing is due before the last of them."""
        room = int(min(most, self.plan.ahead(self.step), self.tiers.planned(), max(1, self.cursor.full_batches)))
        room = max(1, room)
        while room > 1 and not self.cursor.fills(room):
            room -= 1
        return room


def _read(training: Training) -> Reads:
    return Reads(training.model)
