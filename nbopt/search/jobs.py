"""What an executor carries out: a trial in its parts, one run or one call after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from nbopt.errors import tell_error
from nbopt.run.run import Run
from nbopt.run.spec import RunSpec
from nbopt.search.trial import COMPLETE, FAILED, PRUNED
from nbopt.training.state import Finished, RunState, Validated


class Part(NamedTuple):
    """One of the trainings that a trial is judged by: the whole of it, a fold, or one with another seed.

    Attributes
    ----------
    call : callable or None
        A function of the user's, or a fit of an estimator: returns the objectives. None where nbopt trains.
    spec : callable or None
        Else: returns what the part's run is made with.
    own : mapping of str to object
        The hyperparameters of this run that are the trial's.
    measure : callable or None
        Returns the objectives of a run that has ended.
    shape : object
        Equal for runs whose models are built alike.
    data : callable or None
        Returns the data and the seed of the run, as fields of a `RunSpec`.
    keep : callable or None
        Lets later runs have the data as this one, which has begun, made them.
    """

    call: Callable[[], tuple[float, ...]] | None = None
    spec: Callable[[], RunSpec] | None = None
    own: Mapping[str, Any] = {}
    measure: Callable[[Any], tuple[float, ...]] | None = None
    shape: Any = None
    data: Callable[[], Mapping[str, Any]] | None = None
    keep: Callable[[Any], None] | None = None


class Job(NamedTuple):
    """A trial to be carried out.

    Attributes
    ----------
    number : int
    parts : sequence of Part
        Its objectives are the means of theirs.
    report : callable
        ``report(number, session, step) -> bool``: told of a validation of a trial's only run; returns whether the
        trial is to be pruned.
    note : callable
        ``note(number, step, value) -> bool``: told of the mean over so many parts.
    """

    number: int
    parts: Sequence[Part]
    report: Callable[[int, Any, int], bool]
    note: Callable[[int, int, float], bool]


class Ended(NamedTuple):
    """A trial has ended, as what, with which objectives.

    Attributes
    ----------
    parts : list of tuple
        The objectives of each part.
    session : Run, Member or None
        What was trained, where it was one run.
    """

    number: int
    state: str
    objectives: tuple[float, ...] = ()
    parts: Sequence[tuple[float, ...]] = ()
    session: Any = None
    steps: int = 0
    error: Exception | None = None

    @classmethod
    def failed(cls, number: int, error: Exception, session: Any = None, steps: int = 0) -> Ended:
        """Return that a trial failed."""
        return cls(number, FAILED, (), (), session, steps, error)


class Pruned(Exception):
    """Raised in an objective of the user's that ends a trial."""


def mean_of(parts: Sequence[tuple[float, ...]]) -> tuple[float, ...]:
    """Return the mean of each objective over the parts."""
    return tuple(float(value) for value in np.mean(np.array(parts, np.float64), axis=0))


def carry_out(job: Job, begin: Callable[[Run], None], is_cancelled: Callable[[int], bool]) -> Iterator[Ended | None]:
    """Carry a trial out, one event of its runs at a time: None while it goes on, and how it ended."""
    found: list[tuple[float, ...]] = []
    run: Run | None = None
    steps = 0
    try:
        for part in job.parts:
            if part.call is not None:
                found.append(part.call())
            else:
                assert part.spec is not None and part.measure is not None
                run = Run.of(part.spec())
                begin(run)
                for is_pruned in _train(job, run, is_cancelled):
                    if is_pruned:
                        yield Ended(job.number, PRUNED, (), found, run, steps + run.step_count)
                        return
                    yield None
                found.append(part.measure(run))
                steps += run.step_count
            if len(job.parts) > 1 and len(found) < len(job.parts):
                is_pruned = job.note(job.number, len(found), mean_of(found)[0])
                if is_pruned or is_cancelled(job.number):
                    yield Ended(job.number, PRUNED, (), found, None, steps)
                    return
                yield None
        yield Ended(job.number, COMPLETE, mean_of(found), found, run if len(job.parts) == 1 else None, steps)
    except Exception as error:  # whatever model, loss, data or objective of the user's raise
        if type(error).__name__ in ("TrialPruned", "Pruned"):  # Optuna's own, too
            yield Ended(job.number, PRUNED, (), found, None, steps)
            return
        if run is not None and not run.state.is_ended:
            run.error = error
            run.become(RunState.FAILED, tell_error(error))
        yield Ended.failed(job.number, error, run, steps + (0 if run is None else run.step_count))


def _train(job: Job, run: Run, is_cancelled: Callable[[int], bool]) -> Iterator[bool]:
    """Train a run, one event at a time; yield whether it is to be pruned, and was."""
    torch.set_num_threads(torch.get_num_threads())  # see `nbopt.run.pulling`
    events, validations = run.events(), 0
    run.journal.event(run.step_count, "start", source="study")
    run.become(RunState.RUNNING)
    run.training.meter.tick(running=True)
    for event in events:
        pruned = is_cancelled(job.number)
        if isinstance(event, Validated) and len(job.parts) == 1:
            validations += 1
            pruned = job.report(job.number, run, validations) or pruned
        if isinstance(event, Finished):
            if any(restores() for restores in run.training.acting.restores_best):
                run.changes.act("restore_best", "run")
            run.training.meter.tick(running=False)
            run.become(RunState.FINISHED, event.reason)
            return
        if pruned:
            run.training.flush()
            run.training.meter.tick(running=False)
            run.become(RunState.STOPPED, "pruned", "study")
        yield pruned
