"""`Driven`: a session whose steps a worker has done, in a thread of its own or in the caller's."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Self

from nbopt.hyperparams import Int
from nbopt.run.session.session import Session
from nbopt.run.worker.progress import ProgressLine
from nbopt.run.worker.worker import Worker
from nbopt.training.state import Event, RunState
from nbopt.training.training import Training

_FIRST_STEP_SECONDS = 2.0  # how long `start` waits for the first step, to raise what it raises in the user's own cell


class Driven(Session):
    """A session that is started, paused and ended.

    Attributes
    ----------
    worker : Worker
    """

    worker: Worker

    @property
    def training(self) -> Training:
        """What steps are done with; made on first asking, which looks at the data.

        Examples
        --------
        >>> run.training.step
        0
        """
        return self.worker.training

    @property
    def has_begun(self) -> bool:
        """Whether there is a `training` yet.

        Examples
        --------
        >>> run.has_begun
        False
        >>> run.step()
        >>> run.has_begun
        True
        """
        return self.worker.has_begun

    @property
    def exact(self) -> bool | None:  # type: ignore[override]
        """Whether repeated steps gave the same values as the first time, bit for bit; None before any were repeated.

        Steps are repeated by `Run.rewind`, by the runs that `Run.branch` and `Run.replay` return, and by `nbopt.open`.
        Everything they measure is compared with the history, and so is what follows as long as the same is done as the
        first time. Once False, it stays False: the event ``not_exact`` in the journal tells the first value that
        differs.

        Examples
        --------
        >>> run.step(9)
        >>> run.rewind(5)
        >>> run.exact
        True
        """
        return self.worker.exactness.verdict

    @property
    def exactness(self) -> str:  # type: ignore[override]
        """`exact` in words: "exact", or "not exact: ..." with the step, the two values, and why; "" before.

        Examples
        --------
        >>> run.step(9)
        >>> run.rewind(5)
        >>> run.exactness
        'exact'
        """
        return self.worker.exactness.words

    @property
    def speed(self) -> float | None:
        """The largest number of steps per second, so that a person can follow them; None for full speed.

        It can be changed at any time and takes effect at once. ``run.step(100)`` ignores it. The result of the training
        does not depend on it, and it is not journaled.

        Examples
        --------
        >>> run.speed = 100
        >>> run.start()
        """
        return self.worker.limit.speed

    @speed.setter
    def speed(self, speed: float | None) -> None:
        self.worker.limit.change(speed)

    def start(self, *, wait: bool = True, source: str = "code") -> None:
        """Start or continue training in a background thread. Does nothing if the run is running.

        Parameters
        ----------
        wait : bool
            Wait for the first step (2 s at most), so that an exception in it is raised here.
        source : str
            Who asks, for the journal.

        Raises
        ------
        TypeError, ValueError
            If data do not fit each other or the model, and whatever the model raises in the first step.
        RuntimeError
            If the run is complete: set ``epochs`` or ``steps`` higher to continue.

        Examples
        --------
        >>> run.start()
        >>> run.set(lr=0.01)  # while it trains
        >>> run.wait() is nbopt.RunState.FINISHED
        True
        """
        self.worker.go(math.inf, source)
        if wait:
            self.worker.wait(self.worker.has_set_out, _FIRST_STEP_SECONDS)

    def step(self, n: int = 1, *, wait: bool = True, source: str = "code") -> None:
        """Do ``n`` steps, then pause.

        Parameters
        ----------
        n : int
            At least 1.
        wait : bool
            Return when they are done.
        source : str
            Who asks, for the journal.

        Raises
        ------
        InvalidHyperparam
            If ``n`` is no such number.
        BaseException
            With ``wait``, whatever the model, the loss or the data raise.

        Examples
        --------
        >>> run.step(3)
        >>> run.step_count, run.state.name
        (3, 'PAUSED')
        """
        steps = Int(1, low=1, high=1, ge=1)
        steps.name = "n"
        self.worker.go(steps.check(n), source)
        if wait:
            self.worker.wait(self.worker.has_spent)

    def pause(self, *, wait: bool = True, source: str = "code") -> None:
        """Pause after the current step.

        Parameters
        ----------
        wait : bool
            Return once the run is paused.
        source : str
            Who asks, for the journal.

        Examples
        --------
        >>> endless = nbopt.Run(torch.nn.Linear(4, 3), (X, y), epochs=10**6, store=None)
        >>> endless.start()
        >>> endless.pause()
        >>> endless.state.name
        'PAUSED'
        """
        self.worker.rest(RunState.PAUSED, source, wait)

    def stop(self, *, wait: bool = True, source: str = "code") -> None:
        """End the run where it is; `resume` can still continue it.

        Parameters
        ----------
        wait : bool
            Return when the run is at rest.
        source : str
            Who asks, for the journal.

        Examples
        --------
        >>> run.step(3)
        >>> run.stop()
        >>> run.state.name
        'STOPPED'
        """
        self.worker.rest(RunState.STOPPED, source, wait)

    def halt(self, timeout: float) -> None:
        """Pause at the next event, and wait for it. A process does this with its runs before it ends.

        Parameters
        ----------
        timeout : float
            Seconds to wait at most.

        Examples
        --------
        >>> endless = nbopt.Run(torch.nn.Linear(4, 3), (X, y), epochs=10**6, store=None)
        >>> endless.start()
        >>> endless.halt(5.0)
        >>> endless.state.name
        'PAUSED'
        """
        self.worker.halt(timeout)

    def release_workers(self) -> None:
        """End the worker processes of a `DataLoader` while the run is at rest; do nothing while it trains.

        A pause keeps them, so that the run can go on at once. Without them it starts others when it goes on, and trains
        as if they had stayed.

        Examples
        --------
        >>> run.step(3)
        >>> run.release_workers()
        >>> run.step(3)
        """
        self.worker.release_workers()

    def wait(self, timeout: float | None = None) -> RunState:
        """Block until the run has ended, and return its state.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait at most.

        Raises
        ------
        BaseException
            The exception that ended the run, if one did.

        Examples
        --------
        >>> run.start()
        >>> run.wait().name
        'FINISHED'
        """
        self.worker.wait(self.worker.has_ended, timeout)
        return self.state

    def fit(self) -> Self:
        """Train to the end in the calling thread, with a progress line in a terminal. Meant for scripts.

        Returns
        -------
        Run
            This one.

        Raises
        ------
        BaseException
            Whatever model, loss or data raise. Ctrl-C pauses the run, which `resume` or `fit` continues.

        Examples
        --------
        >>> run.fit().epoch
        10
        """
        self.worker.go(math.inf, "code", ProgressLine(self))
        self.wait()
        return self

    def events(self) -> Iterator[Event]:
        """Return an iterator over the events of the training loop: each ``next`` does at most one step.

        Raises
        ------
        TypeError, ValueError
            For data that do not fit each other or the model.

        Examples
        --------
        >>> for event in run.events():
        ...     if run.step_count == 5:
        ...         break
        >>> type(event).__name__
        'Stepped'
        """
        events = self.worker.events()
        if self.recorder is not None:
            self.recorder.begin()
        return events

    def _ask(self, changes: dict[str, object], source: str) -> None:
        self.worker.ask(changes, source)
