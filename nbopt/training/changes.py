"""The one seam for change: requests from any thread, applied between two steps and journaled."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nbopt.export.summary import by_step
from nbopt.hyperparams import Hyperparams
from nbopt.record.journal import ACTIONS, EDIT, SWITCH, TUNING, Entry, Journal, Operation
from nbopt.training.actions import act
from nbopt.training.edits import make_edit
from nbopt.training.prepare import check_planned

if TYPE_CHECKING:
    from nbopt.training.training import Training


class ChangeQueue:
    """What was asked for, and what is planned for a later step.

    Parameters
    ----------
    hyperparams : Hyperparams
    journal : Journal
    untouched : set of str
        Hyperparameters whose value the model brought: setting one to the value shown still acts.

    Attributes
    ----------
    training : Training or None
        The run's material, once there is one.
    """

    def __init__(self, hyperparams: Hyperparams, journal: Journal, untouched: set[str]) -> None:
        self.training: Training | None = None
        self._hyperparams = hyperparams
        self._journal = journal
        self._untouched = untouched
        self._asked: deque[tuple[dict[str, Any], str]] = deque()
        self._planned: deque[tuple[Operation, bool]] = deque()

    @property
    def step(self) -> int:
        """Steps completed."""
        return self.training.step if self.training else 0

    def forget_untouched(self, names: Iterable[str]) -> None:
        """Take note that ``names`` were set in an earlier session: what they show is what acts."""
        self._untouched.difference_update(names)

    @property
    def pending(self) -> frozenset[str]:
        """The names asked for that do not act yet."""
        return frozenset(name for changes, _source in self._asked.copy() for name in changes if name != EDIT)

    def ask(self, changes: dict[str, Any], source: str) -> None:
        """Queue checked changes for the next boundary between two steps; from any thread.

        Raises
        ------
        InvalidHyperparam
            If they do not go together with what acts, waits or is planned.
        """
        if changes.keys() & self._hyperparams.dependent:
            self._check_together(changes)
        self._asked.append((changes, source))

    def _check_together(self, changes: Mapping[str, Any]) -> None:
        planned, waiting, step = self.planned, self._asked.copy(), self.step
        values = dict(self._hyperparams)  # read last: what waited a moment ago may act by now
        values.update({operation.name: operation.value for operation in planned if operation.step <= step})
        for asked, _source in waiting:
            values.update(asked)
        values.update(changes)
        self._hyperparams.check_together(values)
        later = by_step(operation for operation in planned if operation.step > step)
        check_planned(self._hyperparams, values, later)

    def plan(self, operations: Iterable[Operation], journaled: bool = False) -> None:
        """Plan operations, in order of their steps; those ``journaled`` already are not journaled again."""
        planned = [(operation, journaled) for operation in operations]
        # What is done again comes before what is planned for the same step or a later one.
        self._planned = deque(sorted([*planned, *self._planned], key=lambda pair: pair[0].step))

    def forget_journaled(self) -> None:
        """Drop what was to be done again."""
        self._planned = deque(pair for pair in self._planned if not pair[1])

    @property
    def planned(self) -> list[Operation]:
        """What is planned and not done yet."""
        return [operation for operation, _journaled in self._planned.copy()]

    def cancel(self) -> None:
        """Drop what is planned."""
        self._planned.clear()

    def due(self) -> bool:
        """Whether there is something to apply now."""
        return bool(self._asked) or (bool(self._planned) and self._planned[0][0].step <= self.step)

    def apply(self) -> list[Entry]:
        """Apply all that is due. Return the journal's new entries.

        Losses measured before are looked at first: what went wrong then is not what the changes lead to.
        """
        entries: list[Entry] = []
        if self.training is not None:
            self.training.flush()
        while self._planned and self._planned[0][0].step <= self.step:
            operation, journaled = self._planned[0]
            with self._taken_off(self._planned):
                self._do(operation.name, operation.value, operation.source, None if journaled else entries)
        while self._asked:
            changes, source = self._asked[0]
            with self._taken_off(self._asked):
                entries += self.make(changes, source)
        return entries

    def apply_at_rest(self) -> None:
        """Apply what is due while nobody pulls; none of it was made by hand, as other changes in a rest may be."""
        hands = None if self.training is None else self.training.hands
        if hands is not None:
            hands.look()
        try:
            self.apply()
        finally:
            if hands is not None:
                hands.leave()

    @contextmanager
    def _taken_off(self, queue: deque[Any]) -> Iterator[None]:
        """Take the first off a queue once it is done or refused, and not before: until then it is waiting.

        One that is interrupted goes on waiting, unless all of it is in the journal.
        """
        first, before = queue[0], len(self._journal)
        done = False
        try:
            yield
            done = True
        except Exception:
            done = True
            raise
        finally:
            if (done or (queue is self._planned and len(self._journal) > before)) and queue and queue[0] is first:
                queue.popleft()

    def make(self, changes: Mapping[str, Any], source: str) -> list[Entry]:
        """Make checked changes now, ahead of those that wait; return the journal's new entries."""
        entries: list[Entry] = []
        for name, value in changes.items():
            if name == EDIT or value != self._hyperparams[name] or self._stands_for_several(name):
                self._do(name, value, source, entries)
        return entries

    def _stands_for_several(self, name: str) -> bool:
        """Whether the value shown is not what acts everywhere, so that setting it to just that still does something."""
        return name in (self._untouched if self.training is None else self.training.acting.find_several())

    def act(self, action: str, source: str) -> bool:
        """Do one of `ACTIONS` now; journal it if it changed something, and return whether it did."""
        entries: list[Entry] = []
        self._do(action, None, source, entries)
        return bool(entries)

    def steps_to_plan(self) -> float:
        """Return how many steps there are to the next planned change."""
        return self._planned[0][0].step - self.step if self._planned else math.inf

    def switch(self, change: dict[str, Any]) -> list[Entry]:
        """Change how steps are done, see `nbopt.training.step.mode`; return the journal's new entries."""
        entries: list[Entry] = []
        self._do(SWITCH, change, "run", entries)
        return entries

    def tune(self) -> list[Entry]:
        """Take note of what the user changed in the model itself; return the journal's new entries."""
        assert self.training is not None
        entries: list[Entry] = []
        change, self.training.is_tuned = self.training.find_tuning(), False
        if change is not None:
            self._do(TUNING, change, "code", entries)
        return entries

    def _do(self, name: str, value: Any, source: str, entries: list[Entry] | None) -> None:
        training = self.training
        if training is None:
            self._assign(name, value, source, entries)
            return
        if name == EDIT:  # which is not to be done again to a state that has it
            training.securing.take()
        else:
            training.securing.take_before_change()
        before, training.half_done = training.half_done, True
        try:
            self._act(name, value, source, entries)
        except Exception:  # refused: it was not taken
            training.half_done = before
            raise
        training.half_done = before

    def _act(self, name: str, value: Any, source: str, entries: list[Entry] | None) -> None:
        if name == SWITCH:
            assert self.training is not None
            self.training.tiers.switch(value)
            if entries is not None:
                entries.append(self._journal.event(self.step, name, value, source))
            return
        if name == TUNING:
            assert self.training is not None
            carried = self.training.tune(value)
            if entries is not None:
                entries.append(self._journal.event(self.step, name, value, source))
                self._tell(carried, source, entries)
            return
        if name == EDIT:
            assert self.training is not None
            made, carried = make_edit(self.training, value)
            if made is not None and entries is not None:
                entries.append(self._journal.event(self.step, name, made, source))
                self._tell(carried, source, entries)
            return
        if name in ACTIONS:
            assert self.training is not None
            if act(self.training, name) and entries is not None:
                entries.append(self._journal.event(self.step, name, self.training.judge.best_step, source))
            return
        self._assign(name, value, source, entries)

    def _assign(self, name: str, value: Any, source: str, entries: list[Entry] | None) -> None:
        old, journaled = self._hyperparams[name], len(self._journal)
        try:
            self._hyperparams.assign(name, value)
            carried = self.training.changed(name) if self.training is not None else ""
            if entries is not None:
                entries.append(self._journal.change(self.step, name, old, value, source))
        except BaseException:  # whatever torch or the user's own optimizer makes of the value: it was not taken
            if len(self._journal) == journaled:
                self._hyperparams.assign(name, old)
            raise
        self._untouched.discard(name)
        if entries is not None:
            self._tell(carried, source, entries)

    def _tell(self, carried: str, source: str, entries: list[Entry]) -> None:
        if carried:
            entries.append(self._journal.event(self.step, "carried", carried, source))

    def restore(self, values: Mapping[str, Any]) -> None:
        """Put back the hyperparameters of a snapshot."""
        for name, value in values.items():
            if self._hyperparams[name] != value:
                self._hyperparams.assign(name, value)
                if self.training is not None:
                    self.training.changed(name)
