"""What an executor carries out: a trial in its parts, one run or one call after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch

from nbopt.errors import InvalidHyperparam, tell_error
from nbopt.run.run import Run
from nbopt.run.spec import RunSpec
from nbopt.search.executors.checkpoints import Checkpoint, continue_from
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
    subject, asked : object
        What `parts` were made of, the trial's values and name beside: for those who make them anew in another process.
    """

    number: int
    parts: Sequence[Part]
    report: Callable[[int, Any, int], bool]
    note: Callable[[int, int, float], bool]
    subject: Any = None
    asked: Any = None
    values: Mapping[str, Any] = {}
    name: str = ""


class Ended(NamedTuple):
    """A trial has ended, as what, with which objectives.

    Attributes
    ----------
    parts : list of tuple
        The objectives of each part.
    session : Run, Member or None
        What was trained, where it was one run.
    batch : tuple of int, optional
        The first and the last of the trials that trained together, and that begin together when they are done again.
    """

    number: int
    state: str
    objectives: tuple[float, ...] = ()
    parts: Sequence[tuple[float, ...]] = ()
    session: Any = None
    steps: int = 0
    error: Exception | None = None
    batch: tuple[int, int] | None = None

    @classmethod
    def failed(cls, number: int, error: Exception, session: Any = None, steps: int = 0) -> Ended:
        """Return that a trial failed."""
        return cls(number, FAILED, (), (), session, steps, error)


@dataclass
class Progress:
    """How far a trial is.

    Attributes
    ----------
    found : list of tuple
        The objectives of the parts that have ended.
    steps : int
        Steps of these.
    validations : int
        Of the part that is under way.
    run : Run or None
        ... and its run.
    checkpoint : Checkpoint or None
        Where that run is to go on from.
    asked : list of mapping
        What a hand changed in the trial; whoever carries it out appends, from any thread.
    changes : int
        How many of these its run has. One that begins later gets all of them.
    """

    found: list[tuple[float, ...]] = field(default_factory=list)
    steps: int = 0
    validations: int = 0
    run: Run | None = None
    checkpoint: Checkpoint | None = None
    asked: list[Mapping[str, Any]] = field(default_factory=list)
    changes: int = 0

    def change(self) -> None:
        """Have the run change as a hand asked for."""
        run = self.run
        while run is not None and self.changes < len(self.asked):
            checked = run.hyperparams.check(self.asked[self.changes])
            self.changes += 1
            try:
                with run.lock:
                    run.changes.ask(checked, "study")
            except InvalidHyperparam as error:  # it does not go with what another change made of the run
                run.tell(str(error))


class Pruned(Exception):
    """Raised in an objective of the user's that ends a trial."""


def mean_of(parts: Sequence[tuple[float, ...]]) -> tuple[float, ...]:
    """Return the mean of each objective over the parts."""
    return tuple(float(value) for value in np.mean(np.array(parts, np.float64), axis=0))


def carry_out(
    job: Job, is_cancelled: Callable[[int], bool], progress: Progress, begin: Callable[[], None] = lambda: None
) -> Iterator[Ended | None]:
    """Carry a trial out, one event of its runs at a time: None while it goes on, and how it ended.

    Parameters
    ----------
    job : Job
    is_cancelled : callable
    progress : Progress
        Where it goes on from; kept up to date.
    begin : callable
        Called when another run begins.
    """
    known, found = progress, progress.found
    try:
        for part in job.parts[len(found) :]:
            if part.call is not None:
                found.append(part.call())
            else:
                assert part.spec is not None and part.measure is not None
                run = known.run = Run.of(part.spec())
                if known.checkpoint is None:
                    known.validations = known.changes = 0
                else:
                    continue_from(run, known.checkpoint)
                    known.checkpoint = None
                begin()
                for is_pruned in _train(job, known, is_cancelled):
                    if is_pruned:
                        yield Ended(job.number, PRUNED, (), found, run, known.steps + run.step_count)
                        return
                    yield None
                found.append(part.measure(run))
                known.steps += run.step_count
            if len(job.parts) > 1 and len(found) < len(job.parts):
                known.run = None
                is_pruned = job.note(job.number, len(found), mean_of(found)[0])
                if is_pruned or is_cancelled(job.number):
                    yield Ended(job.number, PRUNED, (), found, None, known.steps)
                    return
                yield None
        yield Ended(
            job.number, COMPLETE, mean_of(found), found, known.run if len(job.parts) == 1 else None, known.steps
        )
    except Exception as error:  # whatever model, loss, data or objective of the user's raise
        if type(error).__name__ in ("TrialPruned", "Pruned"):  # Optuna's own, too
            yield Ended(job.number, PRUNED, (), found, None, known.steps)
            return
        failed = known.run
        if failed is not None and not failed.state.is_ended:
            failed.error = error
            failed.become(RunState.FAILED, tell_error(error))
        steps = known.steps + (failed.step_count if failed is not None and len(found) < len(job.parts) else 0)
        yield Ended.failed(job.number, error, failed, steps)


def _train(job: Job, progress: Progress, is_cancelled: Callable[[int], bool]) -> Iterator[bool]:
    """Train a run, one event at a time; yield whether it is to be pruned, and was."""
    run = progress.run
    assert run is not None
    torch.set_num_threads(torch.get_num_threads())  # see `nbopt.run.worker.pulling`
    onward = "start" if run.state is RunState.CREATED else "resume"
    events = run.events()
    run.journal.event(run.step_count, onward, source="study")
    run.become(RunState.RUNNING)
    run.training.meter.tick(running=True)
    progress.change()
    for event in events:
        progress.change()
        pruned = is_cancelled(job.number)
        if isinstance(event, Validated) and len(job.parts) == 1:
            progress.validations += 1
            pruned = job.report(job.number, run, progress.validations) or pruned
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
