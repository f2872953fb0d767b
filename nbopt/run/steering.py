"""How a run is steered, from any thread: new values, and when it trains."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import Any, Self

from nbopt.hyperparams import Int
from nbopt.i18n import _
from nbopt.run.facts import Facts
from nbopt.run.progress import ProgressLine
from nbopt.store.recorder import Recorder
from nbopt.training.prepare import check_in_time
from nbopt.training.state import Event, RunState

_FIXED = frozenset(("model", "seed", "device", "hyperparams", "history", "journal"))
_FIRST_STEP_SECONDS = 2.0  # how long `start` waits for the first step, to raise what it raises in the user's own cell


class Steering(Facts):
    """The part of a `Run` that is asked to do things."""

    recorder: Recorder | None
    inert: dict[str, str]

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse what looks like a change and would be none.

        Raises
        ------
        AttributeError
            For a hyperparameter, which `set` changes, and for what a run is made of.
        """
        known = vars(self)
        if name in known.get("hyperparams", ()):
            way = _("run.set({name}={value!r})", name=name, value=value)
            raise AttributeError(_("{name} is a hyperparameter: write {way}.", name=name, way=way))
        if name in _FIXED and name in known:
            raise AttributeError(_("a run keeps the {name} that it was made with: make another Run.", name=name))
        super().__setattr__(name, value)

    def set(self, *, source: str = "code", **changes: Any) -> None:
        """Ask for new values; they act from the next step on. Returns when queued; callable from any thread.

        Warns of those that cannot act in this run, see `inert`.

        Parameters
        ----------
        source : str
            Who asks, for the journal.
        **changes
            New values by hyperparameter name; all of them or, if one is not legal, none.

        Raises
        ------
        InvalidHyperparam
            For an unknown name or an illegal value, or one that comes too late or does not go with another.
        """
        checked = self.hyperparams.check(changes)
        begun = 1 if self.state is RunState.RUNNING else 0  # its first step may be done before the change is
        check_in_time(checked, self.hyperparams, max(begun, self.step_count))
        self.driver.ask(checked, source)
        for name in sorted(self.inert.keys() & checked.keys()):
            warnings.warn(f"{name}: {self.inert[name]}", stacklevel=2)

    def start(self, *, wait: bool = True, source: str = "code") -> None:
        """Train in a thread of its own, from where the run is. Does nothing if it is running.

        Parameters
        ----------
        wait : bool
            Wait for the first step (2 s at most), so that what it raises is raised here.

        Raises
        ------
        TypeError, ValueError
            For data that do not fit each other or the model; whatever the model raises in the first step.
        RuntimeError
            If the run is complete: raise ``epochs``, or ``steps``, to go on.
        """
        self.driver.go(math.inf, source)
        if wait:
            self.driver.wait(self.driver.has_begun, _FIRST_STEP_SECONDS)

    def resume(self, *, wait: bool = True, source: str = "code") -> None:
        """Go on: after a pause, a stop, an error put right, or with more ``epochs`` or ``steps`` after the end."""
        self.start(wait=wait, source=source)

    def step(self, n: int = 1, *, wait: bool = True, source: str = "code") -> None:
        """Do ``n`` steps, then pause. With ``wait``, return when they are done."""
        steps = Int(1, low=1, high=1, ge=1)
        steps.name = "n"
        self.driver.go(steps.check(n), source)
        if wait:
            self.driver.wait(self.driver.has_spent)

    def pause(self, *, wait: bool = True, source: str = "code") -> None:
        """Pause after the current step. With ``wait``, return when the run is at rest."""
        self.driver.rest(RunState.PAUSED, source, wait)

    def stop(self, *, wait: bool = True, source: str = "code") -> None:
        """End the run where it is; `resume` can still go on from there."""
        self.driver.rest(RunState.STOPPED, source, wait)

    def release_workers(self) -> None:
        """Let the worker processes of a `DataLoader` go while the run is at rest; does nothing while it trains.

        A pause keeps them, so that going on costs nothing. Going on starts others, and trains as if they had stayed.
        """
        self.driver.release_workers()

    def wait(self, timeout: float | None = None) -> RunState:
        """Block until the run has ended, or for ``timeout`` seconds; return the state.

        Raises
        ------
        BaseException
            The exception that ended the run, if one did.
        """
        self.driver.wait(self.driver.has_ended, timeout)
        return self.state

    def fit(self) -> Self:
        """Train to the end in this thread, with a progress line: for scripts. Returns the run.

        Raises
        ------
        BaseException
            Whatever model, loss or data raise. Ctrl-C pauses the run, and `resume` or `fit` goes on.
        """
        self.driver.go(math.inf, "code", ProgressLine(self))
        self.wait()
        return self

    def events(self) -> Iterator[Event]:
        """Return the loop's events, for a caller who pulls them: each ``next`` does one thing, a step at most.

        Raises
        ------
        TypeError, ValueError
            For data that do not fit each other or the model.
        """
        events = self.driver.events()
        if self.recorder is not None:
            self.recorder.begin()
        return events
