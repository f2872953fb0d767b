"""What techniques ask for between two steps: changes of hyperparameters."""

from __future__ import annotations

import math
from collections.abc import Callable

from nbopt.i18n import _
from nbopt.record.journal import Entry
from nbopt.techniques.base import called
from nbopt.training.changes.queue import ChangeQueue
from nbopt.training.core import Core


class Proposals:
    """Asks the techniques that propose changes, each at the multiples of its ``proposes_every``.

    Steps that are done again make the changes that the journal has, and nobody is asked.

    Parameters
    ----------
    training : Core

    Attributes
    ----------
    planned : callable
        Returns how many steps there are to the next change that is planned.
    """

    def __init__(self, training: Core) -> None:
        self.planned: Callable[[], float] = lambda: math.inf
        self._training = training
        self._asked_at = -1

    def forget(self) -> None:
        """Take note that the run is somewhere else now."""
        self._asked_at = -1

    def steps_ahead(self) -> float:
        """Return how many steps there are to the next change that is planned, or time that a technique is asked."""
        step, planned = self._training.step, self.planned()
        if not self._training.acting.propose:
            return planned
        return min([planned, *(every - step % every for every in self._periods())])

    def are_due(self) -> bool:
        """Return whether a technique is to be asked before the next step."""
        if not (training := self._training).acting.propose:
            return False
        step = training.step
        if step == self._asked_at or step < training.tiers.held_until:
            return False
        return any(not step % every for every in self._periods())

    def make(self, changes: ChangeQueue) -> list[Entry]:
        """Ask, and make the changes; return the journal's new entries.

        Raises
        ------
        ValueError
            Before the first step, if a technique cannot tell; later, that is only told.
        """
        training, entries = self._training, []
        self._asked_at = step = training.step
        for propose in training.acting.propose:
            technique = propose.__self__  # type: ignore[attr-defined]
            source = called(type(technique))
            if step % technique.proposes_every or changes.were_made(source):
                continue
            try:
                proposed = training.hyperparams.check(propose())
                training.hyperparams.check_together(proposed)
            except ValueError as error:
                if not step:
                    raise
                text = _("{name} changed nothing at step {step}: {error}", name=source, step=step, error=error)
                training.pass_.tell(text)
                continue
            entries += changes.make(proposed, source)
        return entries

    def _periods(self) -> list[int]:
        found = [propose.__self__.proposes_every for propose in self._training.acting.propose]  # type: ignore[attr-defined]
        return [every for every in found if every > 0]
