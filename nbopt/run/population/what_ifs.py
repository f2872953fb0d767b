"""What each value of chosen hyperparameters would do, found out again and again while a run trains or rests.

All of it is done between two steps of the run, by the thread that trains it, a hundredth of a second at a time. A
thread with a copied model would keep the run waiting less on a machine with cores to spare, but could not be let loose
beside it: on a GPU there is one random generator for all threads, and one queue of work; everywhere, Python's and
numpy's generators, loaders and datasets belong to both. So the thread here only keeps the time: how long a slice took,
and how long it then waits.
"""

from __future__ import annotations

import atexit
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch

from nbopt.errors import tell_error
from nbopt.i18n import _
from nbopt.run.population.trying import Slices, Trials
from nbopt.run.population.what_if import Question, WhatIf, are_apart, do_slice
from nbopt.run.trained import TrainedSession
from nbopt.training.state import RunState

Key = tuple[str, ...]
"""One hyperparameter, or two that are looked at together."""

SHARE = 0.1
_EVERY_SECONDS = 2.0  # between two times that the same is found out while the run trains
_DRAWS, _DRAWS_AT_LAST = 2, 4  # of the first answer; and at rest, where there is time
_EPOCHS, _LEAST, _MOST = 0.25, 10, 60  # of the steps that are looked ahead, where nobody says how many
_LAST_SECONDS = 5.0  # how long the end of the process waits for a slice to end

_all: weakref.WeakSet[WhatIfs] = weakref.WeakSet()


class Found(NamedTuple):
    """What was found out, and when.

    Attributes
    ----------
    what_if : WhatIf or None
        None where it could not be found out.
    problem : str
        Why it could not; "" where it could.
    step : int
        Steps that the run had done.
    """

    what_if: WhatIf | None
    problem: str
    step: int


class WhatIfs:
    """Keeps what is known of some hyperparameters of a run up to date.

    Parameters
    ----------
    run : TrainedSession
        Not changed by a bit, nor is its journal.
    wake : callable
        Called, from any thread, when something new was found out.
    is_seen : callable
        Whether anybody looks; while nobody does, nothing is found out beside a run that trains.
    ranges : callable
        ``ranges(key)`` returns what is to be tried of each hyperparameter, or None for the usual.

    Attributes
    ----------
    keys : list of tuple of str
        What is asked for.
    found : dict of tuple of str to Found
        What is known of it.
    steps : int
        How many are looked ahead; 0 for a quarter of an epoch, at least 10 and at most 60.
    share : float
        The part of the time of a run that trains which this takes.
    at_work : tuple of str or None
        What is being found out now.
    """

    def __init__(
        self,
        run: TrainedSession,
        wake: Callable[[], None] = lambda: None,
        is_seen: Callable[[], bool] = lambda: True,
        ranges: Callable[[Key], Sequence[Sequence[Any]] | None] = lambda _key: None,
    ) -> None:
        self.keys: list[Key] = []
        self.found: dict[Key, Found] = {}
        self.steps, self.share = 0, SHARE
        self.at_work: Key | None = None
        self._run, self._wake, self._is_seen, self._ranges = run, wake, is_seen, ranges
        self._stamps: dict[Key, Any] = {}
        self._times: dict[Key, float] = {}
        self._trials: Trials | None = None
        self._lock = threading.Lock()
        self._stir, self._closing = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        _all.add(self)

    def ask(self, keys: Iterable[Key]) -> None:
        """Find out these from now on, and no others."""
        with self._lock:
            self.keys = [key for key in keys if key]
            self.found = {key: found for key, found in self.found.items() if key in self.keys}
            if self.keys and self._thread is None and not self._closing.is_set():
                self._run.watch(self.stir)
                name = f"nbopt what if {self._run.name}"
                self._thread = threading.Thread(target=self._work, name=name, daemon=True)
                self._thread.start()
        self.stir()

    def look_ahead(self, steps: int) -> None:
        """Look so many steps ahead; 0 for the usual."""
        self.steps = steps
        self.stir()

    def are_apart(self, name: str) -> bool:
        """Whether values of a hyperparameter are tried one after the other, which takes longer."""
        return are_apart(self._run, [name])

    def stir(self) -> None:
        """Say that there may be something to do."""
        self._stir.set()

    def close(self, timeout: float = 0.0) -> None:
        """Find out nothing any more."""
        self._closing.set()
        self.stir()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    @property
    def steps_ahead(self) -> int:
        """How many steps are looked ahead now."""
        cursor = self._run.training.cursor
        epoch = None if cursor.epoch_size is None else cursor.epoch_size / cursor.batch_size
        return self.steps or round(min(_MOST, max(_LEAST, _EPOCHS * epoch if epoch else 0)))

    # -- on a thread of its own

    def _work(self) -> None:
        while not self._closing.is_set():
            self._stir.clear()  # before anything is looked at: what changes from here on is looked at next
            with self._lock:
                if not self.keys:
                    self._thread, self._trials, self._stamps = None, None, {}
                    self._run.unwatch(self.stir)
                    return
            key, wait = self._next()
            if key is None:
                self._stir.wait(wait)
            else:
                self._find(key)
        with self._lock:
            self._run.unwatch(self.stir)

    def _next(self) -> tuple[Key | None, float | None]:
        """Return what to find out now, or how long there is nothing to do; None for ever."""
        now, stamp = time.monotonic(), self._stamp()
        wanted = {(stamp, _DRAWS_AT_LAST)} if not self._is_training else {(stamp, _DRAWS), (stamp, _DRAWS_AT_LAST)}
        old = [key for key in self.keys if self._stamps.get(key) not in wanted]
        if not old:
            return None, None if not self._is_training else _EVERY_SECONDS
        # Those that nothing is known of first, then those that are of another moment, then those known roughly.
        key = min(old, key=lambda key: ((stamp, _DRAWS) == self._stamps.get(key), self._times.get(key, 0.0)))
        wait = self._times.get(key, 0.0) + _EVERY_SECONDS - now
        if not self._is_training or (self._is_seen() and wait <= 0):
            return key, 0.0
        return None, max(wait, _EVERY_SECONDS / 10)

    @property
    def _is_training(self) -> bool:
        return self._run.state is RunState.RUNNING

    def _stamp(self) -> Any:
        """Return what tells whether the run is where it was."""
        return self._run.step_count, len(self._run.journal), self.steps

    def _find(self, key: Key) -> None:
        self.at_work, stamp, begun = key, self._stamp(), time.monotonic()
        self._wake()
        run, step = self._run, stamp[0]
        draws = _DRAWS_AT_LAST if self._stamps.get(key) == (stamp, _DRAWS) else _DRAWS
        found: WhatIf | None = None
        problem, rest = "", 0.0
        try:
            slices = run.worker.between_steps(lambda: self._begin(key, draws))
            while found is None:
                seconds, found = run.worker.between_steps(lambda: self._slice(slices))
                if self._closing.is_set() or key not in self.keys:
                    return
                is_training = self._is_training
                rest = seconds * (1 / self.share - 1) if is_training else 0.0
                if not is_training:
                    if found is None and self._stamp() != stamp:
                        return  # it has come to rest, or was changed there: begin anew
                    time.sleep(0)  # others want the run's lock, too
                elif found is None:
                    self._closing.wait(rest)
        except Exception as error:  # whatever model, loss or data of the user's raise
            problem = tell_error(error)
        finally:
            self.at_work = None
        with self._lock:
            if key in self.keys:
                self.found[key] = Found(found, problem, step)
        self._stamps[key] = stamp, _DRAWS_AT_LAST if problem else draws
        self._times[key] = begun
        self._wake()
        self._closing.wait(rest)  # the last slice counts, too

    def _begin(self, key: Key, draws: int) -> Slices:
        run = self._run
        question = Question(run, key, ranges=self._ranges(key))
        if question.is_late:
            raise RuntimeError(_("{name} acts before the first step alone.", name=", ".join(key)))
        if self._trials is None or self._trials.run is not run:
            self._trials = Trials(run)
        return question.slices(self._trials, self.steps_ahead, draws)

    def _slice(self, slices: Slices) -> tuple[float, WhatIf | None]:
        """Do some of it; return how long that kept the run waiting."""
        start = time.perf_counter()
        found = do_slice(slices)
        device = self._run.device.torch
        if device.type == "cuda":  # what was begun there keeps the run's own steps waiting
            torch.cuda.synchronize(device)
        return time.perf_counter() - start, found


@atexit.register
def _close_all() -> None:
    for one in [*_all]:
        one.close(_LAST_SECONDS)
