"""The one training loop: a generator of events that never knows who pulls it, and asks for each of its steps.

Blocking `Run.fit`, the run's own thread, the Step button and the tests pull the same generator. Pausing is not
pulling. Whoever pulls does the steps: those of one run by its `Stepper`, those of many runs all at once. All state is
in `Training` and the queue of changes, none in the generator: one that is left, or lost to an exception, is replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Protocol

from nbopt.record.journal import Entry
from nbopt.training.changes.queue import ChangeQueue
from nbopt.training.rates import tell_of_standstill
from nbopt.training.state import Changed, Evaluating, Event, Finished, Recovered, Stepped, Validated
from nbopt.training.training import Training
from nbopt.training.validation import validate

Requests = Generator[Event | None, int | None, None]
"""What happens, and None where a step is to be done: then how many were is sent in."""


def requests(training: Training, changes: ChangeQueue, recover: Callable[[], list[Entry]]) -> Requests:
    """Train, yielding an event for everything that happens, and None for each step that is to be done.

    At each boundary between two steps the order is fixed, and with it what a journal means: recovery from trouble,
    then the validation that is due, then changes, then the next step.

    Parameters
    ----------
    training : Training
        The run's material.
    changes : ChangeQueue
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
        elif training.may_end and (reason := training.end_reason()):
            training.flush()
            if not training.trouble:
                yield Finished(training.step, reason)
                return
        elif training.acting.propose and training.proposals.are_due():
            training.flush()
            if not training.trouble:
                yield Changed(training.proposals.make(changes))
        elif change := training.tiers.due():
            yield Changed(changes.switch(change))
        elif count := (yield None):
            yield Stepped(training.step - 1, count)


class Limit(Protocol):
    """Holds steps back, for a person to follow them."""

    speed: float | None
    """Steps a second; None: as fast as it goes, and `wait` is not called."""

    def wait(self) -> bool:
        """Wait until the next step is due; return False if something else is to be looked at first."""


def pull(loop: Requests, step: Callable[[], int], limit: Limit | None = None) -> Generator[Event, None, None]:
    """Pull one loop: pass on its events, and do its steps.

    Parameters
    ----------
    loop : generator
        From `requests`.
    step : callable
        Does the next step, or several; returns how many.
    limit : Limit, optional
        How many steps a second are done at most.
    """
    done: int | None = None
    while True:
        try:
            event = loop.send(done)
        except StopIteration:
            return
        if event is not None:
            done = None
            yield event
        elif limit is None or limit.speed is None or limit.wait():
            done = step()
        else:
            done = None
            yield Changed([])  # whoever pulls is to look, too


def pull_together(
    loops: Sequence[Requests], step: Callable[[Sequence[int]], Sequence[int]]
) -> Iterator[tuple[int, Event]]:
    """Pull several loops: each to where it asks for a step, then do the steps of all that ask in one call.

    Parameters
    ----------
    loops : sequence of generator
        From `requests`.
    step : callable
        ``step(members) -> counts``: does the next step of those members, given by their places in ``loops``; returns
        how many each of them did.

    Yields
    ------
    tuple of (int, Event)
        Whose event it is, and the event.
    """
    done: dict[int, int | None] = dict.fromkeys(range(len(loops)))
    while done:
        asking = []
        for member in list(done):
            while True:
                try:
                    event = loops[member].send(done[member])
                except StopIteration:
                    del done[member]
                    break
                done[member] = None
                if event is None:
                    asking.append(member)
                    break
                yield member, event
        if asking:
            done.update(zip(asking, step(asking), strict=True))
