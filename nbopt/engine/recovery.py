"""Going back: to a step, by hand, or out of trouble."""

from __future__ import annotations

from nbopt.engine.capture import restore
from nbopt.engine.changes import Changes
from nbopt.engine.training import Training
from nbopt.engine.trouble import Trouble
from nbopt.record.journal import Entry, Journal
from nbopt.record.snapshots import Snapshot
from nbopt.words import _

_CUT = 0.5  # what is left of the learning rate after a divergence; less each time it happens again
_TRIES = 12
SOURCE = "guard"


def go_back(training: Training, journal: Journal, snapshot: Snapshot, source: str, target: int) -> Entry:
    """Put the run back to ``snapshot``, on the way to ``target``, and journal it."""
    step = training.step
    restore(training, snapshot)
    training.history.go_back(snapshot.step, validated=not snapshot.facts["validation_due"])
    training.snapshots.forget_after(snapshot.step)
    # Last: whoever has read this entry finds nothing of the future that was given up.
    return journal.rewind(step, target, source)


class Recovery:
    """Puts right what can be: a diverged loss and memory that ran out.

    Parameters
    ----------
    training : Training
    changes : Changes
    journal : Journal
    """

    def __init__(self, training: Training, changes: Changes, journal: Journal) -> None:
        self._training = training
        self._changes = changes
        self._journal = journal
        self._tries = 0
        self._back_to = -1  # the step last gone back to
        self._trouble_at = -1

    def __call__(self) -> list[Entry]:
        """Put the trouble right, and return the journal's new entries.

        Raises
        ------
        FloatingPointError
            If the loss goes wrong again and again, however low the learning rate.
        """
        trouble = self._training.trouble
        assert trouble is not None
        self._training.trouble = None
        return self._split(trouble) if trouble.memory else self._retreat(trouble)

    def _split(self, trouble: Trouble) -> list[Entry]:
        training = self._training
        size = training.accumulation.half_of(training.hyperparams["batch_size"])
        event = self._journal.event(training.step, "out_of_memory", trouble.text, SOURCE)
        self._changes.ask({"micro_batch": size}, SOURCE)
        return [event, *self._changes.apply()]

    def _retreat(self, trouble: Trouble) -> list[Entry]:
        training = self._training
        snapshot = training.snapshots.before(trouble.step)
        if trouble.step > self._trouble_at:
            self._tries = 0
        elif snapshot.step >= self._back_to > 0:  # it did not help: that snapshot was spoilt already
            snapshot = training.snapshots.before(self._back_to - 1)
        self._tries += 1
        self._trouble_at = max(self._trouble_at, trouble.step)
        self._back_to = snapshot.step
        event = self._journal.event(training.step, "diverged", trouble.text, SOURCE)
        if self._tries > _TRIES:
            raise FloatingPointError(
                _(
                    "{trouble}, again after {count} retreats with ever lower learning rates. Look for data that are "
                    "no numbers (impute fills gaps in), or a loss that has none; recover=False trains on regardless.",
                    trouble=trouble.text,
                    count=_TRIES,
                )
            )
        entry = go_back(training, self._journal, snapshot, SOURCE, snapshot.step)
        self._changes.ask({"lr": training.hyperparams["lr"] * _CUT**self._tries}, SOURCE)
        return [event, entry, *self._changes.apply()]
