"""The one training loop: a generator of events that never knows who pulls it.

Blocking `Run.fit`, the run's own thread, the Step button and the tests pull the same generator. Pausing is
not pulling. All state is in `Training` and the queue of changes, none in the generator: one that is left, or
lost to an exception, is replaced by a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

from nbopt.record.journal import Entry
from nbopt.training.changes import ChangeQueue
from nbopt.training.rates import tell_of_standstill
from nbopt.training.state import Changed, Evaluating, Event, Finished, Recovered, Stepped, Validated
from nbopt.training.training import Training
from nbopt.training.validation import validate


def events(
    training: Training, changes: ChangeQueue, recover: Callable[[], list[Entry]]
) -> Generator[Event, None, None]:
    """Train, yielding an event for everything that happens.

    At each boundary between two steps the order is fixed, and with it what a journal means: recovery from trouble,
    then the validation that is due, then changes, then the next step.

    Parameters
    ----------
    training : Training
        The run's material.
    changes : Changes
        Asked for or planned.
    recover : callable
        Puts right what `Training.trouble` tells of, and returns the journal entries.
    """
    tell_of_standstill(training)
    while True:
        if training.visits:
            training.receive()
            yield Changed([])
        elif training.trouble:
            yield Recovered(recover())
        elif training.validation_due:
            for _part in validate(training):
                yield Evaluating(training.step)
            yield Validated(training.step)
        elif changes.due():
            training.flush()
            if not training.trouble:  # which is put right first
                yield Changed(changes.apply())
        elif training.is_tuned:
            yield Changed(changes.tune())
        elif reason := training.end_reason():
            training.flush()
            if not training.trouble:
                yield Finished(training.step, reason)
                return
        elif change := training.tiers.due():
            yield Changed(changes.switch(change))
        elif count := training.train_step():
            yield Stepped(training.step - 1, count)
