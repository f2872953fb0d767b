"""Executors: where trials are carried out. One small protocol; here, in the caller's thread and in several threads."""

from __future__ import annotations

import queue
import threading
from collections.abc import Container, Iterator, Mapping
from typing import Any, Protocol

from nbopt.run.worker.threads import thread_from_here
from nbopt.search.executors.jobs import Ended, Job, Progress, carry_out

_LOOK_SECONDS = 0.05  # how long `events` waits before it lets the study look around


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

    def compared(self, number: int) -> Container[int]:
        """Return the trials that a pruner may compare trial ``number`` with.

        Those are surely as far as it is, whenever the study was interrupted.
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


class Inline:
    """One trial after the other, in the thread of who asks for events."""

    slots = 1

    def __init__(self) -> None:
        self._going: Iterator[Ended | None] | None = None
        self._progress = Progress()
        self._cancelled: set[int] = set()
        self._resting = False

    def known(self, number: int) -> int:
        """All trials before it."""
        return number

    def compared(self, number: int) -> Container[int]:
        """All trials before it."""
        return range(number)

    def submit(self, job: Job) -> None:
        """Take a trial on."""
        self._progress = Progress()
        self._going = carry_out(job, self._cancelled.__contains__, self._progress)

    def set(self, number: int, changes: Mapping[str, Any]) -> None:
        """Change values of the trial."""
        self._progress.asked.append(changes)

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
                self._going = None
                yield ended

    def close(self) -> None:
        """Give up the trial."""
        self._going = None
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
        self._progress: dict[int, Progress] = {}
        self._cancelled: set[int] = set()
        self._goes = threading.Event()
        self._goes.set()
        self._rests: dict[int, threading.Event] = {}
        self._closed = False
        self._threads: list[threading.Thread] = []

    def known(self, number: int) -> int:
        """All but as many as there are slots: others may still be under way."""
        return max(0, number - self.slots + 1)

    def compared(self, number: int) -> Container[int]:
        """Those that have surely ended."""
        return range(self.known(number))

    def submit(self, job: Job) -> None:
        """Take a trial on, in a new thread."""
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        thread = thread_from_here(f"trial {job.number}", self._carry_out, job)
        self._threads.append(thread)
        self._progress[job.number] = Progress()
        thread.start()

    def _carry_out(self, job: Job) -> None:
        for ended in carry_out(job, self._cancelled.__contains__, self._progress[job.number]):
            if ended is not None:
                self._progress.pop(job.number, None)
                self._ended.put(ended)
            self._goes.wait()
            if (rest := self._rests.get(job.number)) is not None:
                rest.wait()
                self._goes.wait()
            if self._closed:
                return

    def hold_one(self, number: int, resting: bool) -> None:
        """Have one trial rest between two steps, or go on."""
        if resting:
            self._rests.setdefault(number, threading.Event()).clear()
        elif (rest := self._rests.pop(number, None)) is not None:
            rest.set()

    def set(self, number: int, changes: Mapping[str, Any]) -> None:
        """Change values of a trial."""
        if (progress := self._progress.get(number)) is not None:
            progress.asked.append(changes)

    def cancel(self, number: int) -> None:
        """End a trial after its step."""
        self._cancelled.add(number)
        self.hold_one(number, resting=False)

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
        for number in [*self._rests]:
            self.hold_one(number, resting=False)
        self._goes.set()
        for thread in self._threads:
            thread.join()
        self._closed = False
        self._progress.clear()
        self._cancelled.clear()
        self._ended = queue.Queue()
