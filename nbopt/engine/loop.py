"""The one training loop: a generator of events that never knows who pulls it.

Blocking `Run.fit`, the run's own thread, the Step button and the tests pull the same generator. Pausing is
not pulling. All state is in `Training` and the queue of changes, none in the generator: one that is left, or
lost to an exception, is replaced by a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sized

from nbopt.engine.state import Changed, Evaluating, Event, Finished, Stepped, Validated
from nbopt.engine.training import Training
from nbopt.record.journal import Entry


def events(training: Training, queue: Sized, apply: Callable[[], list[Entry]]) -> Generator[Event, None, None]:
    """Train, yielding an event for everything that happens.

    Parameters
    ----------
    training : Training
        The run's material.
    queue : Sized
        Changes that wait.
    apply : callable
        Applies them all, between two steps, and returns their journal entries.
    """
    while True:
        if queue:
            yield Changed(apply())
        elif training.validation_due:
            for _part in training.validate():
                yield Evaluating(training.step)
            yield Validated(training.step)
        elif reason := training.end_reason():
            training.flush()
            yield Finished(training.step, reason)
            return
        else:
            yield Stepped(training.train_step())
