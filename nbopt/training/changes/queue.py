"""The one seam for change: requests from any thread, applied between two steps and journaled."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from nbopt.export.summary import by_step
from nbopt.hyperparams import Hyperparams
from nbopt.record.journal import ACTIONS, EDIT, SWITCH, TUNING, Entry, Journal, Operation
from nbopt.training.prepare import check_planned
from nbopt.training.stage import Stage

_OPERATIONS = frozenset((*ACTIONS, EDIT, SWITCH, TUNING))  # that set no value


class ChangeQueue:
    """What was asked for, and what is planned for a later step.

    Parameters
    ----------
    hyperparams : Hyperparams
    journal : Journal
    stage : Stage
        What changes act on.

    Attributes
    ----------
    asked : deque
        What was asked for and waits; always the same queue.
    """

    def __init__(self, hyperparams: Hyperparams, journal: Journal, stage: Stage) -> None:
        self.stage = stage
        self._hyperparams = hyperparams
        self._journal = journal
        self.asked: deque[tuple[dict[str, Any], str]] = deque()
        self._planned: deque[tuple[Operation, bool]] = deque()

    @property
    def step(self) -> int:
        """Steps completed."""
        return self.stage.step

    @property
    def pending(self) -> frozenset[str]:
        """The names asked for that do not act yet."""
        return frozenset(name for changes, _source in self.asked.copy() for name in changes if name != EDIT)

    def ask(self, changes: dict[str, Any], source: str) -> None:
        """Queue checked changes for the next boundary between two steps; from any thread.

        Raises
        ------
        InvalidHyperparam
            If they do not go together with what acts, waits or is planned.
        """
        if changes.keys() & self._hyperparams.dependent:
            self._check_together(changes)
        self.asked.append((changes, source))

    def _check_together(self, changes: Mapping[str, Any]) -> None:
        planned, waiting, step = self.planned, self.asked.copy(), self.step
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
        return bool(self.asked) or (bool(self._planned) and self._planned[0][0].step <= self.step)

    def apply(self) -> list[Entry]:
        """Apply all that is due. Return the journal's new entries.

        Losses measured before are looked at first: what went wrong then is not what the changes lead to.
        """
        entries: list[Entry] = []
        self.stage.flush()
        while self._planned and self._planned[0][0].step <= self.step:
            operation, journaled = self._planned[0]
            with self._taken_off(self._planned):
                self._do(operation.name, operation.value, operation.source, None if journaled else entries)
        while self.asked:
            changes, source = self.asked[0]
            with self._taken_off(self.asked):
                entries += self.make(changes, source)
        return entries

    def apply_at_rest(self) -> None:
        """Apply what is due while nobody pulls."""
        with self.stage.at_rest():
            self.make(self.stage.take_resettled(), "code")  # which came before
            self.apply()

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
            if name in _OPERATIONS or value != self._hyperparams[name] or name in self.stage.several:
                self._do(name, value, source, entries)
        return entries

    def act(self, action: str, source: str) -> bool:
        """Do one of `ACTIONS` now; journal it if it changed something, and return whether it did."""
        entries: list[Entry] = []
        self._do(action, None, source, entries)
        return bool(entries)

    def were_made(self, source: str) -> bool:
        """Return whether ``source`` changed something at this very step."""
        return any(entry.step == self.step and entry.source == source for entry in self._journal.effective())

    def steps_to_plan(self) -> float:
        """Return how many steps there are to the next planned change."""
        return self._planned[0][0].step - self.step if self._planned else math.inf

    def switch(self, change: dict[str, Any]) -> list[Entry]:
        """Change how steps are done, see `nbopt.training.step.mode`; return the journal's new entries."""
        entries: list[Entry] = []
        self._do(SWITCH, change, "run", entries)
        return entries

    def tune(self) -> list[Entry]:
        """Take note of what the user changed in model and optimizer; return the journal's new entries."""
        entries = self.make(self.stage.take_resettled(), "code")
        if (change := self.stage.take_tuning()) is not None:
            self._do(TUNING, change, "code", entries)
        return entries

    def _do(self, name: str, value: Any, source: str, entries: list[Entry] | None) -> None:
        with self.stage.changing(name):
            if name not in _OPERATIONS:
                self._assign(name, value, source, entries)
            elif (done := self.stage.do(name, value)) is not None and entries is not None:
                entries.append(self._journal.event(self.step, name, done.detail, source))
                self._tell(done.carried, source, entries)

    def _assign(self, name: str, value: Any, source: str, entries: list[Entry] | None) -> None:
        old, journaled = self._hyperparams[name], len(self._journal)
        try:
            self._hyperparams.assign(name, value)
            carried = self.stage.changed(name)
            if entries is not None:
                entries.append(self._journal.change(self.step, name, old, value, source))
        except BaseException:  # whatever torch or the user's own optimizer makes of the value: it was not taken
            if len(self._journal) == journaled:
                self._hyperparams.assign(name, old)
            raise
        if entries is not None:
            self._tell(carried, source, entries)

    def _tell(self, carried: str, source: str, entries: list[Entry]) -> None:
        if carried:
            entries.append(self._journal.event(self.step, "carried", carried, source))
