"""Executors: where trials are carried out. One small protocol; here, in the caller's thread and in several threads."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import torch

from nbopt.errors import tell_error
from nbopt.run.run import Run
from nbopt.search.trial import COMPLETE, FAILED, PRUNED
from nbopt.training.state import Finished, RunState, Validated

_LOOK_SECONDS = 0.05  # how long `events` waits before it lets the study look around


class Job(NamedTuple):
    """A trial to be carried out.

    Attributes
    ----------
    number : int
    values : mapping of str to object
    make : callable
        Returns the trial's run; or, where a function of the user's is what is searched, None.
    call : callable or None
        That function, called with nothing: it returns the objectives.
    measure : callable
        Returns the objectives of a run that has ended.
    report : callable
        ``report(number, session, step) -> bool``: told of a validation; returns whether the trial is to be pruned.
    shape : object
        Equal for trials whose models are built alike.
    """

    number: int
    values: Mapping[str, Any]
    make: Callable[[], Run | None]
    call: Callable[[], tuple[float, ...]] | None
    measure: Callable[[Any], tuple[float, ...]]
    report: Callable[[int, Any, int], bool]
    shape: Any = None


class Ended(NamedTuple):
    """A trial has ended, as what, with which objectives; ``session`` is the run or the member, if there is one."""

    number: int
    state: str
    objectives: tuple[float, ...] = ()
    session: Any = None
    steps: int = 0
    error: Exception | None = None
    note: str = ""


class Pruned(Exception):
    """Raised in an objective of the user's that ends a trial."""


class Executor(Protocol):
    """Carries trials out.

    Attributes
    ----------
    slots : int
        How many trials it takes at once.
    """

    slots: int

    def known(self, number: int) -> int:
        """Return how many trials, the first ones, have surely ended when trial ``number`` is asked for.

        This alone is what the sampler is told of, so that a study does not depend on who was faster.
        """

    def submit(self, job: Job) -> None:
        """Take a trial on."""

    def set(self, number: int, changes: Mapping[str, Any]) -> None:
        """Change values of a trial that is carried out."""

    def events(self) -> Iterator[Ended]:
        """Go on for a while; yield what has ended."""

    def cancel(self, number: int) -> None:
        """End a trial as pruned, after its step."""

    def hold(self, resting: bool) -> None:
        """Rest between two steps, or go on; callable from any thread."""

    def close(self) -> None:
        """Give up whatever has not ended."""


def carry_out(job: Job, begin: Callable[[Run], None], is_cancelled: Callable[[int], bool]) -> Iterator[Ended | None]:
    """Carry a trial out, one event of its run at a time: None while it goes on, and how it ended."""
    run: Run | None = None
    try:
        if job.call is not None:
            yield _call(job)
            return
        run = job.make()
        assert run is not None
        begin(run)
        yield from _train(job, run, is_cancelled)
    except Exception as error:  # whatever model, loss or data of the user's raise
        if run is not None:
            run.error = error
            run.become(RunState.FAILED, tell_error(error))
        yield Ended(job.number, FAILED, (), run, 0 if run is None else run.step_count, error, tell_error(error))


def _call(job: Job) -> Ended:
    assert job.call is not None
    try:
        return Ended(job.number, COMPLETE, job.call())
    except Exception as error:
        if type(error).__name__ in ("TrialPruned", "Pruned"):  # Optuna's own, too
            return Ended(job.number, PRUNED)
        raise


def _train(job: Job, run: Run, is_cancelled: Callable[[int], bool]) -> Iterator[Ended | None]:
    torch.set_num_threads(torch.get_num_threads())  # see `nbopt.run.pulling`
    events, validations = run.events(), 0
    run.journal.event(run.step_count, "start", source="study")
    run.become(RunState.RUNNING)
    run.training.meter.tick(running=True)
    for event in events:
        pruned = is_cancelled(job.number)
        if isinstance(event, Validated):
            validations += 1
            pruned = job.report(job.number, run, validations) or pruned
        if isinstance(event, Finished):
            if any(restores() for restores in run.training.acting.restores_best):
                run.changes.act("restore_best", "run")
            run.training.meter.tick(running=False)
            run.become(RunState.FINISHED, event.reason)
            yield Ended(job.number, COMPLETE, job.measure(run), run, run.step_count)
            return
        if pruned:
            run.training.flush()
            run.training.meter.tick(running=False)
            run.become(RunState.STOPPED, "pruned", "study")
            yield Ended(job.number, PRUNED, (), run, run.step_count)
            return
        yield None


class Inline:
    """One trial after the other, in the thread of who asks for events."""

    slots = 1

    def __init__(self) -> None:
        self._going: Iterator[Ended | None] | None = None
        self._run: Run | None = None
        self._cancelled: set[int] = set()
        self._resting = False

    def known(self, number: int) -> int:
        """All trials before it."""
        return number

    def submit(self, job: Job) -> None:
        """Take a trial on."""
        self._going = carry_out(job, self._begin, self._cancelled.__contains__)

    def _begin(self, run: Run) -> None:
        self._run = run

    def set(self, number: int, changes: Mapping[str, Any]) -> None:
        """Change values of the trial."""
        if self._run is not None:
            self._run.set(source="study", **changes)

    def cancel(self, number: int) -> None:
        """End the trial after its step."""
        self._cancelled.add(number)

    def hold(self, resting: bool) -> None:
        """Rest between two steps, or go on."""
        self._resting = resting

    def events(self) -> Iterator[Ended]:
        """Go on until the trial has ended, or is to rest."""
        while self._going is not None and not self._resting:
            ended = next(self._going)
            if ended is not None:
                self._going = self._run = None
                yield ended

    def close(self) -> None:
        """Give up the trial."""
        self._going = self._run = None
        self._cancelled.clear()


class Threads:
    """Several trials at once, each in a thread of its own.

    Parameters
    ----------
    slots : int
    """

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._ended: queue.Queue[Ended] = queue.Queue()
        self._runs: dict[int, Run] = {}
        self._cancelled: set[int] = set()
        self._goes = threading.Event()
        self._goes.set()
        self._closed = False
        self._threads: list[threading.Thread] = []

    def known(self, number: int) -> int:
        """All but as many as there are slots: others may still be under way."""
        return max(0, number - self.slots + 1)

    def submit(self, job: Job) -> None:
        """Take a trial on, in a new thread."""
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        thread = threading.Thread(target=self._carry_out, args=(job,), name=f"nbopt trial {job.number}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _carry_out(self, job: Job) -> None:
        def begin(run: Run) -> None:
            self._runs[job.number] = run

        for ended in carry_out(job, begin, self._cancelled.__contains__):
            if ended is not None:
                self._runs.pop(job.number, None)
                self._ended.put(ended)
            self._goes.wait()
            if self._closed:
                return

    def set(self, number: int, changes: Mapping[str, Any]) -> None:
        """Change values of a trial."""
        if (run := self._runs.get(number)) is not None:
            run.set(source="study", **changes)

    def cancel(self, number: int) -> None:
        """End a trial after its step."""
        self._cancelled.add(number)

    def hold(self, resting: bool) -> None:
        """Rest between two steps, or go on."""
        (self._goes.clear if resting else self._goes.set)()

    def events(self) -> Iterator[Ended]:
        """Wait a moment for trials to end."""
        try:
            yield self._ended.get(timeout=_LOOK_SECONDS)
            while True:
                yield self._ended.get_nowait()
        except queue.Empty:
            return

    def close(self) -> None:
        """Give up whatever has not ended, and wait for the threads."""
        self._closed = True
        self._goes.set()
        for thread in self._threads:
            thread.join()
        self._closed = False
        self._cancelled.clear()
        self._ended = queue.Queue()
