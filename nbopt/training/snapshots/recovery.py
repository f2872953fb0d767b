"""Going back: to a step, by hand, or out of trouble."""

from __future__ import annotations

import math
from typing import Any

from nbopt.i18n import _
from nbopt.record.journal import EDIT, Entry, Journal
from nbopt.record.snapshots import Snapshot
from nbopt.training.changes.queue import ChangeQueue
from nbopt.training.failure import Failure
from nbopt.training.snapshots.restoring import restore
from nbopt.training.state import Bound
from nbopt.training.training import Training

_CUT = 0.5  # what is left of the learning rate after a divergence; less each time it happens again
_TRIES = 12
_CALM = 1000  # steps without trouble after which tries are counted anew
SOURCE = "guard"


def go_back(training: Training, journal: Journal, snapshot: Snapshot, source: str, target: int) -> Entry:
    """Put the run back to ``snapshot``, on the way to ``target``, and journal it."""
    step = training.step
    training.bound = Bound(step, len(journal))  # until it has arrived
    restore(training, snapshot)
    training.history.give_up(snapshot.step, validated=not snapshot.facts["validation_due"])
    training.snapshots.forget_after(snapshot.step)
    # Last: whoever has read this entry finds nothing of the future that was given up.
    return journal.rewind(step, target, source)


class Recovery:
    """Puts right what can be: a diverged loss and memory that ran out.

    There is one for a run, however often its events are pulled: tries that do not help are counted over all of them.

    Parameters
    ----------
    training : Training
    changes : ChangeQueue
    journal : Journal
    """

    def __init__(self, training: Training, changes: ChangeQueue, journal: Journal) -> None:
        self._training = training
        self._changes = changes
        self._journal = journal
        self._forget()

    def _forget(self) -> None:
        """Begin to count anew."""
        self._tries = 0
        self._back_to = -1  # the step last gone back to
        self._was_fine = False  # whether the loss of just those weights was usual once
        self._trouble_at = self._first = -1
        self._asked_rate = 0.0  # what the learning rate was when the trouble began
        self._good_rate = 0.0  # ... and at the snapshot before it

    def __call__(self) -> list[Entry]:
        """Put the trouble right, and return the journal's new entries.

        Raises
        ------
        FloatingPointError
            If the loss goes wrong again and again, however low the learning rate. The run is then at its last good
            snapshot, with the learning rate that it had before.
        """
        trouble = self._training.trouble
        assert trouble is not None
        self._training.trouble = None
        return self._split(trouble) if trouble.memory else self._retreat(trouble)

    def _split(self, trouble: Failure) -> list[Entry]:
        training = self._training
        event = self._journal.event(training.step, "out_of_memory", trouble.text, SOURCE)
        return [event, *self._changes.make(trouble.less, SOURCE)]

    def _retreat(self, trouble: Failure) -> list[Entry]:
        training = self._training
        if trouble.step > self._trouble_at + _CALM:
            self._forget()
        if trouble.step == self._back_to and self._was_fine and math.isfinite(trouble.loss):
            return self._accept(trouble)
        snapshot = training.snapshots.before(trouble.step)
        if trouble.step <= self._trouble_at and snapshot.step >= self._back_to > 0:  # spoilt already: it did not help
            snapshot = training.snapshots.before(self._back_to - 1)
        event = self._journal.event(training.step, "diverged", trouble.text, SOURCE)
        asked_rate, undone = training.hyperparams["lr"], self._undone_by(snapshot)
        edits, by_hand = self._edits_undone_by(snapshot), training.material.place()
        entry = go_back(training, self._journal, snapshot, SOURCE, snapshot.step)
        good_rate = training.hyperparams["lr"]
        if not self._tries:
            self._asked_rate, self._good_rate = asked_rate, good_rate
            self._first = trouble.step
        self._tries += 1
        self._trouble_at = max(self._trouble_at, trouble.step)
        self._back_to, self._was_fine = snapshot.step, snapshot.step < self._first
        failed = self._tries > _TRIES
        rate = self._asked_rate if failed else min(self._good_rate * _CUT**self._tries, good_rate * _CUT)
        training.bound = None
        edited, tuned = self._do_again(edits, by_hand)
        made = self._changes.make({"lr": rate, **undone}, SOURCE)
        entries = [event, entry, *edited, *tuned, *made]
        if failed:
            self._forget()
            raise FloatingPointError(
                _(
                    "{trouble}, again after going back {count} times, each time at a lower learning rate. Look for "
                    "NaN in the data (impute replaces it), or a loss without a minimum; recover=False goes on anyway.",
                    trouble=trouble.text,
                    count=_TRIES,
                )
            )
        return entries

    def _accept(self, trouble: Failure) -> list[Entry]:
        """Go on with a loss that no step has led to: the very same weights had a usual one before."""
        training = self._training
        snapshot = training.snapshots.before(self._back_to)
        undone, by_hand = self._undone_by(snapshot), training.material.place()
        edits = self._edits_undone_by(snapshot)
        entry = go_back(training, self._journal, snapshot, SOURCE, snapshot.step)
        training.bound = None
        edited, tuned = self._do_again(edits, by_hand)
        training.measure_anew("weights")
        entries = [entry, *edited, *tuned, *self._changes.make({"lr": self._asked_rate, **undone}, SOURCE)]
        self._forget()
        training.pass_.tell(
            _(
                "{trouble}: the same weights had a usual loss before, so the loss or the data changed, and the "
                "learning rate is not too high. It is restored, and losses like this one count as usual from here on.",
                trouble=trouble.text,
            )
        )
        return entries

    def _edits_undone_by(self, snapshot: Snapshot) -> list[dict[str, Any]]:
        effective = self._journal.effective()
        return [entry.new for entry in effective if entry.name == EDIT and entry.step >= snapshot.step]

    def _do_again(self, edits: list[dict[str, Any]], by_hand: dict[str, Any]) -> tuple[list[Entry], list[Entry]]:
        """Do again what going back undid of the model's shape, and of what trains; return the journal's new entries."""
        edited = [entry for edit in edits for entry in self._changes.make({EDIT: edit}, SOURCE)]
        self._training.material.put(by_hand)
        return edited, self._changes.tune()

    def _undone_by(self, snapshot: Snapshot) -> dict[str, Any]:
        """Return the changes that going back to a snapshot undoes, but for the learning rate, which is cut."""
        return {
            entry.name: entry.new
            for entry in self._journal.effective()
            if entry.kind == "change" and entry.name != "lr" and entry.step >= snapshot.step
        }
