"""A crew: workers in other processes, or on other machines, that carry trials out; and what a study does with them.

`Crew` is all of an executor but the way to its workers, which `processes.py` and `on_ray.py` know.
"""

from __future__ import annotations

import os
import queue
import time
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from nbopt.i18n import _
from nbopt.search.executors.asking import answer
from nbopt.search.executors.checkpoints import Trained
from nbopt.search.executors.jobs import Ended, Job
from nbopt.search.executors.workplace import Order, Setting

_LOOK_SECONDS = 0.05  # how long `events` waits before it lets the study look around
_START_SECONDS = 30.0  # after so long, a trial whose worker has not come to be is given to one that is free
_PATIENCE = 3  # workers that a trial may lose without getting any further


class WorkerLost(RuntimeError):
    """The worker of a trial was lost again and again, and the trial with it."""


class Worker(Protocol):
    """A worker, as the study's process sees it.

    What it says, it puts into the crew's inbox: (worker, kind, number, content), ``ready`` first, and ``lost``, with
    the reason in words, when it is there no longer.
    """

    def send(self, kind: str, content: Any) -> None:
        """Send it a message; returns at once, and does nothing where it is lost."""

    def end(self) -> None:
        """End it."""


@dataclass
class Assignment:
    """A trial that a worker carries out."""

    job: Job
    worker: Worker
    trained: Trained = field(default_factory=Trained)
    changes: list[dict[str, Any]] = field(default_factory=list)
    is_cancelled: bool = False
    rests: bool = False
    losses: int = 0
    since: float = field(default_factory=time.monotonic)


class Crew:
    """Carries trials out by workers, as many as there are slots.

    Parameters
    ----------
    slots : int

    Attributes
    ----------
    inbox : queue
        What workers say.
    ready : dict of Worker to int
        Those that have come to be, and their processes' numbers.
    """

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.inbox: queue.SimpleQueue[tuple[Any, str, int, Any]] = queue.SimpleQueue()
        self._workers: list[Worker] = []
        self.ready: dict[Worker, int] = {}
        self._held: dict[int, tuple[Worker, Mapping[str, Any]]] = {}
        self._assigned: dict[int, Assignment] = {}
        self._resting = False
        self._setting: Setting | None = None
        self._study = ""

    # -- what a kind of crew knows

    def hire(self, study: str) -> Worker:
        """Return another worker, for the study of this id."""
        raise NotImplementedError

    def pack(self, subject: Any) -> bytes:
        """Return what trials are made of as it is sent to workers."""
        raise NotImplementedError

    def reattach(self, study: str) -> dict[int, tuple[Worker, Mapping[str, Any]]]:
        """Return the trials that workers of before are at, or have done: who, and with which values."""
        return {}

    def adopt(self, worker: Worker, process: int) -> None:
        """Have one of these among the workers."""
        self._workers.append(worker)
        self.ready[worker] = process

    @property
    def threads(self) -> int:
        """How many threads torch has in a worker: its share of the cores, and no more than here."""
        return max(1, min(torch.get_num_threads(), (os.cpu_count() or 1) // self.slots))

    # -- the executor

    def known(self, number: int) -> int:
        """All but as many as there are slots: others may still be under way."""
        return max(0, number - self.slots + 1)

    def compared(self, number: int) -> Container[int]:
        """Those that have surely ended."""
        return range(self.known(number))

    def submit(self, job: Job) -> None:
        """Take a trial on."""
        if self._setting is None:
            as_here = (torch.get_default_dtype(), torch.get_float32_matmul_precision())
            deterministic = torch.are_deterministic_algorithms_enabled()
            subject, self._study = self.pack(job.subject), job.subject.study
            self._setting = Setting(subject, job.subject.seed, self.threads, *as_here, deterministic)
            self._held = self.reattach(self._study)
        worker, values = self._held.pop(job.number, (None, None))
        if worker is not None and values == dict(job.values):
            self._assigned[job.number] = Assignment(job, worker)
            worker.send("resume", job.number)
            worker.send("hold", self._resting)
            return
        if worker is not None:  # it is at another trial by now
            self._dismiss(worker)
        assignment = self._assigned[job.number] = Assignment(job, self._find_free() or self._begin())
        self._order(assignment)

    def _find_free(self) -> Worker | None:
        """Return a worker that is at nothing, rather one that has come to be."""
        busy = [each.worker for each in self._assigned.values()] + [worker for worker, _values in self._held.values()]
        free = [worker for worker in self._workers if worker not in busy]
        return next((worker for worker in free if worker in self.ready), free[0] if free else None)

    def _begin(self) -> Worker:
        worker = self.hire(self._study)
        self._workers.append(worker)
        worker.send("begin", self._setting)
        worker.send("hold", self._resting)
        return worker

    def _dismiss(self, worker: Worker) -> None:
        self._workers.remove(worker)
        self.ready.pop(worker, None)
        self._held = {number: held for number, held in self._held.items() if held[0] is not worker}
        worker.end()

    def _order(self, assignment: Assignment) -> None:
        job, checkpoint = assignment.job, assignment.trained.checkpoint
        order = Order(job.number, job.name, dict(job.values), checkpoint, self.known(job.number))
        assignment.worker.send("order", order)
        for changes in assignment.changes[checkpoint.changes :]:
            assignment.worker.send("change", (job.number, changes))
        if assignment.is_cancelled:
            assignment.worker.send("cancel", job.number)
        assignment.worker.send("hold", self._resting or assignment.rests)

    def set(self, number: int, changes: Mapping[str, Any]) -> None:
        """Change values of a trial."""
        if (assignment := self._assigned.get(number)) is not None:
            assignment.changes.append(dict(changes))
            assignment.worker.send("change", (number, dict(changes)))

    def cancel(self, number: int) -> None:
        """End a trial after its step."""
        if (assignment := self._assigned.get(number)) is not None:
            assignment.is_cancelled = True
            assignment.worker.send("cancel", number)
            self.hold_one(number, resting=False)

    def hold_one(self, number: int, resting: bool) -> None:
        """Have one trial rest between two steps, or go on."""
        if (assignment := self._assigned.get(number)) is not None:
            assignment.rests = resting
            assignment.worker.send("hold", self._resting or resting)

    def hold(self, resting: bool) -> None:
        """Rest between two steps, or go on."""
        self._resting = resting
        held = [each.worker for each in self._assigned.copy().values() if each.rests]
        for worker in [*self._workers]:
            worker.send("hold", resting or worker in held)

    def trained(self, number: int) -> Trained | None:
        """Return what is known of the run of a trial that is carried out."""
        assignment = self._assigned.get(number)
        return None if assignment is None else assignment.trained

    def events(self) -> Iterator[Ended]:
        """Wait a moment for what workers say; answer what they ask."""
        self._move()
        try:
            said = self.inbox.get(timeout=_LOOK_SECONDS)
            while True:
                yield from self._take(*said)
                said = self.inbox.get_nowait()
        except queue.Empty:
            return

    def close(self) -> None:
        """Give up whatever has not ended, and end the workers."""
        for worker in self._workers:
            worker.end()
        self._workers.clear()  # the list itself is known to those who end the workers with the process
        self.ready.clear()
        self._assigned.clear()
        self._held, self._setting = {}, None

    def _move(self) -> None:
        """Give trials whose worker cannot start, where a machine went away, to one that is free."""
        for assignment in self._assigned.values():
            late = assignment.worker not in self.ready and time.monotonic() - assignment.since > _START_SECONDS
            if late and (free := self._find_free()) in self.ready and free is not None:
                self._dismiss(assignment.worker)
                assignment.worker = free
                self._order(assignment)

    # -- what workers say

    def _take(self, worker: Worker, kind: str, number: int, content: Any) -> Iterator[Ended]:
        if kind == "ready":
            self.ready[worker] = content
            return
        if kind == "lost":
            if worker in self._workers:
                self._dismiss(worker)
                for left in [each for each in self._assigned.values() if each.worker is worker]:
                    yield from self._replace(left, content)
            return
        if (known := self._assigned.get(number)) is None or known.worker is not worker:  # of one that was given up
            return
        trained = known.trained
        if kind == "asked":
            worker.send("answer", answer(known.job, *content))
        elif kind == "said":
            for asked in content:
                answer(known.job, *asked)
        elif kind == "measured":
            trained.take(*content)
        elif kind == "saved":
            trained.checkpoint = content._replace(history=trained.columns)
            known.losses = 0
        elif kind == "over":
            ended, trained.checkpoint = content
            del self._assigned[number]
            has_run = trained.checkpoint.snapshot is not None
            yield ended._replace(session=trained if has_run else None)

    def _replace(self, assignment: Assignment, reason: str) -> Iterator[Ended]:
        """Have another worker go on with a trial, from its checkpoint; tell that it failed after so many of them."""
        assignment.losses += 1
        number = assignment.job.number
        if assignment.losses < _PATIENCE:
            assignment.worker, assignment.since = self._find_free() or self._begin(), time.monotonic()
            self._order(assignment)
            return
        del self._assigned[number]
        told = _("trial {number} lost {count} workers one after the other", number=number, count=assignment.losses)
        yield Ended.failed(number, WorkerLost(f"{told}: {reason}."), None, assignment.trained.step_count)
