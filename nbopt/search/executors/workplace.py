"""A workplace: what carries the trials of a study out in another process, and is told what to do by messages.

Nothing here knows how messages travel: whoever has a workplace gives it a function that sends, and delivers what comes.

To a workplace: ``begin`` (a `Setting`), ``order`` (an `Order`), ``change`` (number, changes), ``cancel`` (number),
``hold`` (whether to rest), ``answer`` (to what was asked), ``resume`` (number: tell all of it again, to another study),
``end``.
From it, each with a trial's number: ``measured``, ``saved``, ``asked``, ``said`` (what was answered) and ``over``;
``ready``, with the process's
number, before all of them.
"""

from __future__ import annotations

import os
import queue
import random
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from nbopt.errors import tell_error
from nbopt.run.run import Run
from nbopt.search.executors.asking import Asked
from nbopt.search.executors.checkpoints import Checkpoint, can_capture, news_of, snapshot_of
from nbopt.search.executors.jobs import Ended, Job, Progress, carry_out
from nbopt.search.subjects.objectives import reported
from nbopt.search.trial import Trial
from nbopt.store.sync import SyncState

_TELL_SECONDS = 0.2  # between two looks at what was measured
_SAVE_SECONDS = 1.0  # between two checkpoints at least,
_SAVE_SHARE = 0.02  # ... which may take this part of the time


class Setting(NamedTuple):
    """What all trials of a study need.

    Attributes
    ----------
    subject : bytes
        The study's subject, pickled.
    seed, threads : int
        ``threads`` are torch's.
    dtype, products, deterministic : object
        As torch has them in the study's process: its default type, how exact products are, deterministic algorithms.
    """

    subject: bytes
    seed: int
    threads: int
    dtype: torch.dtype
    products: str
    deterministic: bool

    def apply(self) -> None:
        """Have this process as the study's is."""
        torch.set_num_threads(self.threads)
        torch.set_default_dtype(self.dtype)
        torch.set_float32_matmul_precision(self.products)
        torch.use_deterministic_algorithms(self.deterministic)


class Order(NamedTuple):
    """A trial to be carried out.

    Attributes
    ----------
    number, name, values
        The trial's.
    checkpoint : Checkpoint
        Where it goes on from.
    written : int
        So many trials, the first ones, are written: nobody will ask for them again.
    """

    number: int
    name: str
    values: Mapping[str, Any]
    checkpoint: Checkpoint
    written: int = 0


class Workplace:
    """Carries trials out, one after the other, in the thread that calls `work`.

    Parameters
    ----------
    send : callable
        ``send(kind, number, content)``.
    loads, dumps : callable
        Those of the pickler that the study's process uses.
    """

    def __init__(
        self, send: Callable[[str, int, Any], None], loads: Callable[[bytes], Any], dumps: Callable[[Any], bytes]
    ) -> None:
        self._send, self._loads, self._dumps = send, loads, dumps
        self._orders: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._goes = threading.Event()
        self._goes.set()
        self._cancelled: set[int] = set()
        self._changes: dict[int, list[Mapping[str, Any]]] = {}
        self._resumed = threading.Event()
        self.over: dict[int, tuple[Mapping[str, Any], Any]] = {}
        self.under_way: Order | None = None

    # -- from any thread

    def deliver(self, kind: str, content: Any) -> None:
        """Take a message."""
        if kind == "hold":
            (self._goes.clear if content else self._goes.set)()
        elif kind == "cancel":
            self._cancelled.add(content)
        elif kind == "change":
            number, changes = content
            self._changes[number].append(changes)
        elif kind == "answer":
            self._answers.put(content)
        elif kind == "resume":
            self._resume(content)
        elif kind == "end":
            self._orders.put(None)
        else:
            if kind == "order":
                self._cancelled.discard(content.number)
                self._changes = {content.number: [{}] * content.checkpoint.changes}
            self._orders.put(content)

    def held(self) -> dict[int, Mapping[str, Any]]:
        """Return the values of the trials that another study may take over: under way, or over and not written."""
        found = {number: values for number, (values, _told) in self.over.items()}
        order = self.under_way
        if order is not None and not self._asked.has_suggested:
            found[order.number] = order.values
        return found

    @property
    def waits(self) -> bool:
        """Whether there is nothing that could be done without the study."""
        return self.under_way is None or self._asked.waits

    def _resume(self, number: int) -> None:
        """Tell another study all that it has to know of a trial."""
        if number in self.over:
            self._send("over", number, self.over[number][1])
        else:
            self._asked.tell_again()
            self._resumed.set()

    # -- in the thread that works

    def work(self) -> None:
        """Carry out what is ordered."""
        self._send("ready", 0, os.getpid())
        setting: Setting = self._orders.get()
        setting.apply()
        subject: Any = None
        while (order := self._orders.get()) is not None:
            for number in [number for number in self.over if number < order.written]:
                del self.over[number]
            self._asked = Asked(order.number, self._send, self._answers)
            self.under_way = order
            try:
                subject = subject or self._loads(setting.subject)
                ended, checkpoint = self._carry_out(order, subject, setting.seed)
            except BaseException as error:  # what was sent cannot be made use of here
                ended, checkpoint = Ended.failed(order.number, _plain(error)), Checkpoint()
            told = self._portable(ended), checkpoint
            self.over[order.number] = dict(order.values), told
            self.under_way = None
            self._send("over", order.number, told)

    def _carry_out(self, order: Order, subject: Any, seed: int) -> tuple[Ended, Checkpoint]:
        number, asked, start = order.number, self._asked, order.checkpoint
        draw = np.random.SeedSequence([seed, number]).generate_state(1)[0]  # for functions that draw: whoever is at it
        torch.manual_seed(int(draw))
        np.random.seed(draw)
        random.seed(int(draw))

        def note(_number: int, step: int, value: float) -> bool:
            return bool(asked.ask("note", step, value))

        def report(_number: int, session: Any, step: int) -> bool:
            value = reported(subject.objectives, session)
            return value is not None and note(number, step, value) and not session.training.end_reason()

        parts = subject.parts(Trial(number, dict(order.values)), order.name, asked, note)
        job = Job(number, parts, report, note)
        progress = Progress([*start.found], start.steps, start.validations, None, start if start.snapshot else None)
        progress.asked, progress.changes = self._changes[number], start.changes
        teller = _Teller(number, progress, self._send)
        for ended in carry_out(job, self._cancelled.__contains__, progress, teller.begin):
            if ended is not None:
                return ended._replace(session=None), teller.end(ended.session)
            if not self._goes.is_set():
                teller.tell()
                self._goes.wait()
            if self._resumed.is_set():
                self._resumed.clear()
                teller.begin_anew()
            teller.look()
        raise AssertionError

    def _portable(self, ended: Ended) -> Ended:
        """Return how a trial ended as the study's process can read it."""
        if ended.error is None:
            return ended
        error = ended.error
        error.add_note("".join(traceback.format_exception(error)))
        try:
            self._loads(self._dumps(error))
        except Exception:  # an exception of the user's that cannot be made anew
            error = RuntimeError(tell_error(error))
        return ended._replace(error=error)


class _Teller:
    """Tells the study what a trial's run measures, and where it is."""

    def __init__(self, number: int, progress: Progress, send: Callable[[str, int, Any], None]) -> None:
        self._number, self._progress, self._send = number, progress, send
        self._sync = SyncState()
        self._told = self._saved = time.perf_counter()
        self._pause = _SAVE_SECONDS

    def begin(self) -> None:
        """Tell of another run from now on."""
        self._send("measured", self._number, (0, None))
        self._sync = SyncState()

    def begin_anew(self) -> None:
        """Tell all of it, to whoever knows nothing of it."""
        if self._progress.run is not None:
            self.begin()
            self.tell()
            self._saved = -self._pause

    def look(self) -> None:
        """Tell what there is to tell, if it is time."""
        run, now = self._progress.run, time.perf_counter()
        if now - self._told >= _TELL_SECONDS:
            self.tell()
        if now - self._saved >= self._pause and run is not None and can_capture(run):
            began = time.perf_counter()
            self._send("saved", self._number, self.last(run))
            self._saved = time.perf_counter()
            self._pause = max(_SAVE_SECONDS, (self._saved - began) / _SAVE_SHARE)

    def tell(self) -> None:
        """Tell what was measured since the last time."""
        run = self._progress.run
        if run is not None:
            news = self._sync.compare(run.history)
            self._send("measured", self._number, (run.step_count, news_of(news)))
            self._sync.note(news)
        self._told = time.perf_counter()

    def last(self, run: Run | None) -> Checkpoint:
        """Return where the trial is; its history has been told."""
        known = self._progress
        if run is None:
            return Checkpoint([*known.found], known.steps, known.validations, known.changes)
        snapshot = snapshot_of(run)
        self.tell()
        return Checkpoint([*known.found], known.steps, known.validations, known.changes, snapshot, [*run.journal])

    def end(self, run: Run | None) -> Checkpoint:
        """Return where a trial that has ended is, with all that it measured."""
        past = {} if run is None else {name: run.history[name] for name in run.history.tracks}
        return self.last(run)._replace(history=past)


def _plain(error: BaseException) -> Exception:
    return error if isinstance(error, Exception) else RuntimeError(tell_error(error))
