"""A herd with somebody who pulls it: when it trains."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable
from typing import Self

from nbopt.errors import check_text
from nbopt.hyperparams import Int
from nbopt.i18n import _
from nbopt.run.population.herd import Herd
from nbopt.run.population.pulling import Puller
from nbopt.training.state import RunState

_FIRST_STEP_SECONDS = 2.0  # how long `start` waits for the first step, to raise what it raises in the user's own cell


class Steered(Herd):
    """Starts, pauses and ends as a run does. All public methods may be called from any thread.

    Attributes
    ----------
    puller : Puller
    """

    def __init__(self, name: str | None, kind: str) -> None:
        super().__init__(name, kind)
        self.puller = Puller(self)

    def start(self, *, wait: bool = True, source: str = "code") -> None:
        """Start or continue training in a background thread. Does nothing if it is running.

        Parameters
        ----------
        wait : bool
            Wait for the first step (2 s at most), so that an exception in it is raised here.

        Examples
        --------
        >>> population = nbopt.Population(run.model, (X, y), lr=[0.001, 0.01], epochs=3)
        >>> population.start()
        >>> population.wait().name
        'FINISHED'
        """
        self.puller.go(math.inf, check_text("source", source), here=False)
        if wait:
            self._wait(lambda: self.puller.begun or self.puller.thread is None, _FIRST_STEP_SECONDS)

    def resume(self, *, wait: bool = True, source: str = "code") -> None:
        """Continue after a pause, a stop or an error or, with more ``epochs`` or ``steps``, after the end.

        Examples
        --------
        >>> population = nbopt.Population(run.model, (X, y), lr=[0.001, 0.01], epochs=3).fit()
        >>> population.set(epochs=5)
        >>> population.resume()
        >>> population.wait().name, population[0].epoch
        ('FINISHED', 5)
        """
        self.start(wait=wait, source=source)

    def step(self, n: int = 1, *, wait: bool = True, source: str = "code") -> None:
        """Do ``n`` steps with each member, then pause. With ``wait``, return when they are done.

        Examples
        --------
        >>> population = nbopt.Population(run.model, (X, y), lr=[0.001, 0.01])
        >>> population.step(3)
        >>> [member.step_count for member in population]
        [3, 3]
        """
        steps = Int(1, low=1, high=1, ge=1)
        steps.name = "n"
        self.puller.go(steps.check(n), check_text("source", source), here=False)
        if wait:
            self._wait(lambda: self.puller.thread is None or self.puller.credit == math.inf)

    def pause(self, *, wait: bool = True, source: str = "code") -> None:
        """Pause after the current step. With ``wait``, return once it is paused.

        Examples
        --------
        >>> population = nbopt.Population(run.model, (X, y), lr=[0.001, 0.01], epochs=10**6)
        >>> population.start()
        >>> population.pause()
        >>> population.state.name
        'PAUSED'
        """
        self._rest(RunState.PAUSED, check_text("source", source), wait)

    def stop(self, members: Iterable[int] | None = None, *, wait: bool = True, source: str = "code") -> None:
        """End it where it is; `resume` can still go on from there."""
        self._rest(RunState.STOPPED, check_text("source", source), wait)

    def wait(self, timeout: float | None = None) -> RunState:
        """Block until it ends or ``timeout`` seconds pass, and return its state.

        Raises
        ------
        BaseException
            The exception that ended it, if one did.

        Examples
        --------
        >>> population = nbopt.Population(run.model, (X, y), lr=[0.001, 0.01], epochs=3)
        >>> population.start()
        >>> population.wait().name
        'FINISHED'
        """
        self._wait(lambda: self.state.is_ended and self.puller.thread is None, timeout)
        return self.state

    def fit(self) -> Self:
        """Train to the end in the calling thread, and return the population.

        Examples
        --------
        >>> nbopt.Population(run.model, (X, y), lr=[0.001, 0.01], epochs=3).fit().state.name
        'FINISHED'
        """
        self.puller.go(math.inf, "code", here=True)
        self.wait()
        return self

    def _rest(self, goal: RunState, source: str, wait: bool) -> None:
        puller = self.puller
        with self.lock:
            if puller.thread is None:
                if goal is RunState.STOPPED and self.state in (RunState.CREATED, RunState.PAUSED):
                    self.become(RunState.STOPPED, _("stopped by hand"), source)
                return
            if puller.goal is not RunState.STOPPED:
                puller.goal, puller.asked_by = goal, source
        if wait:
            self._wait(lambda: puller.thread is None or puller.goal is RunState.RUNNING)

    def _wait(self, done: Callable[[], bool], timeout: float | None = None) -> None:
        if self.puller.thread is not threading.current_thread():
            with self.lock:
                self.moved.wait_for(done, timeout)
        if self.state is RunState.FAILED and self.error is not None:
            raise self.error
