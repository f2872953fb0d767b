"""`TrainedSession`: a session that trains by nbopt's own loop."""

from __future__ import annotations

import math
import secrets
import warnings
from collections.abc import Iterator
from typing import Self, get_args

import torch

from nbopt.errors import check_text
from nbopt.hyperparams import Int
from nbopt.i18n import _
from nbopt.run import registry
from nbopt.run.declared import find_inert, find_loss
from nbopt.run.fingerprint import describe_begun, describe_spec
from nbopt.run.making import make_history, make_training
from nbopt.run.progress import ProgressLine
from nbopt.run.recording import make_recorder, tell_opening
from nbopt.run.session import Session
from nbopt.run.spec import RunSpec
from nbopt.run.steerable import Ability
from nbopt.run.worker import Worker
from nbopt.store.database import RunRecord, folder_of
from nbopt.techniques.base import Technique
from nbopt.techniques.catalogue import find_several
from nbopt.techniques.context import Setting
from nbopt.techniques.metrics.by_output import read_metrics
from nbopt.training import prepare
from nbopt.training.device import Device, pick_device
from nbopt.training.material import Material
from nbopt.training.stage import NotBegun
from nbopt.training.state import Event, RunState
from nbopt.training.training import Training

_FIRST_STEP_SECONDS = 2.0  # how long `start` waits for the first step, to raise what it raises in the user's own cell


class TrainedSession(Session):
    """A session, the training that it is of, and the worker that pulls it.

    `nbopt.Run` is what people import: it adds what leads to other runs and to files.

    Parameters
    ----------
    given : RunSpec

    Attributes
    ----------
    spec : RunSpec
        The same, checked.
    initial : dict of str to object
        The hyperparameters' values before the first step.
    material : Material
    worker : Worker
    """

    abilities = frozenset(get_args(Ability))
    device: Device
    material: Material

    def __init__(self, given: RunSpec) -> None:
        spec = given.checked()
        hyperparams = spec.declare()
        self.model = spec.model
        self.seed = spec.seed
        self.device = pick_device(spec.device)
        self.metrics = read_metrics(spec.metrics, spec.loss)
        self.techniques: tuple[Technique, ...] = spec.techniques
        self.spec = spec.settled(hyperparams)
        named, loss = self.spec.hyperparams, find_loss(hyperparams)
        self.loss_modules = loss.modules
        self.material = Material(self.model, self.loss_modules)
        prepare.check_optimizer(spec.optimizer, self.model, self.loss_modules)
        # Values shown that stand for several of the model's own: setting one to what is shown still acts.
        several = find_several(self.model, self.techniques) - named.keys()
        self.initial = {**hyperparams, **spec.initial}
        own = [name for technique in self.techniques for name in technique.measures]
        for measure in own:
            check_text(_("the name of a measurement"), measure)
        self.measures = ["loss", *loss.measures, *self.metrics]
        self.later_measures = ["lr", *own]
        history = make_history(self.measures, own, loss.measures, spec.val is not None)
        number = spec.id or secrets.token_hex(4)
        name = f"{type(self.model).__name__} {number[:4]}" if spec.name in (None, "") else spec.name
        store = None if spec.store is None else folder_of(spec.store)
        super().__init__(
            name,
            hyperparams,
            NotBegun(several),
            history,
            given=named,
            id=number,
            created=spec.created,
            parent=spec.parent,
            store=store,
        )
        self.changes.plan(spec.planned)
        self.worker = Worker(self, self._begin, spec.until)
        setting = Setting(self.model, self.device.torch, spec.val is not None)
        self.inert = {**find_inert(setting, spec.train, self.techniques), **loss.find_inert(setting)}
        for inert in sorted(self.inert.keys() & named.keys()):
            warnings.warn(f"{inert}: {self.inert[inert]}", stacklevel=3)
        self.recorder = None if store is None else make_recorder(self, store, TrainedSession.describe)
        if spec.listed:
            registry.enter(self)
            if (viewer := type(self).viewer) is not None:
                viewer.made(self)

    @classmethod
    def of(cls, spec: RunSpec) -> Self:
        """Return a run made with ``spec``."""
        run = cls.__new__(cls)
        TrainedSession.__init__(run, spec)
        return run

    def _begin(self) -> Training:
        return make_training(self, self.spec, self.material, self.metrics, self.initial)

    def describe(self) -> RunRecord:
        """Return what the run is and was made with, for the store."""
        settings = describe_spec(self.spec, self.initial, self.loss_modules)
        settings |= describe_begun(self.model, self.snapshots, self.training if self.has_begun else None)
        return RunRecord(self.id, self.name, self.parent, self.created, settings)

    # -- what is at work

    @property
    def training(self) -> Training:
        """What steps are done with; made, and data looked at, on first asking."""
        return self.worker.training

    @property
    def has_begun(self) -> bool:
        """Whether there is a `training` yet."""
        return self.worker.has_begun

    @property
    def branches(self) -> list[TrainedSession]:
        """The runs of this process that branched off this one, oldest first; replays too."""
        return [run for run in registry.live_runs() if isinstance(run, TrainedSession) and run.parent == self.id]

    @property
    def optimizer(self) -> torch.optim.Optimizer | None:
        """The torch optimizer at work; None before the start."""
        return self.stage.optimizer

    @property
    def tier(self) -> str:
        """How steps are done and why, in words: one by one (eager), or several in a compiled call."""
        return self.stage.tier or _("eager steps")

    @property
    def converted(self) -> str:
        """What types of numbers the data were converted from and to, in words; "" before the start, or if none were."""
        return self.stage.converted

    @property
    def notes(self) -> list[str]:  # type: ignore[override]
        """What there is to say of how it trains."""
        return [text for text in (self.converted, self.tier) if text]

    @property
    def exact(self) -> bool | None:  # type: ignore[override]
        """Whether steps done again gave what they gave the first time, bit for bit; None before any were.

        Steps are done again by `Run.rewind`, by a run that `Run.branch` or `Run.replay` returns, and by `nbopt.open`.
        All that they measure is held against the history, and so is what follows, for as long as the same is done as
        the first time. False stays: the journal's event ``not_exact`` tells the first value that differs.

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
        """The same in words: "exact", or "not exact: ..." with the step, the two values, and why; "" before."""
        return self.worker.exactness.words

    @property
    def opening(self) -> str:  # type: ignore[override]
        """The code that opens the run again from the store; "" where it is not stored."""
        split = self.spec.val is None or self.spec.val_fraction is not None
        return "" if self.store is None else tell_opening(self.id, self.store, split)

    # -- when it trains

    @property
    def speed(self) -> float | None:
        """How many steps a second it does at most, for a person to follow it; None: as fast as it goes.

        It may be changed at any time, and acts at once. Steps asked for by number, ``run.step(100)``, do not wait.
        Nothing of the training depends on it, and the journal does not have it.

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
        self.worker.go(math.inf, source)
        if wait:
            self.worker.wait(self.worker.has_set_out, _FIRST_STEP_SECONDS)

    def step(self, n: int = 1, *, wait: bool = True, source: str = "code") -> None:
        """Do ``n`` steps, then pause. With ``wait``, return when they are done."""
        steps = Int(1, low=1, high=1, ge=1)
        steps.name = "n"
        self.worker.go(steps.check(n), source)
        if wait:
            self.worker.wait(self.worker.has_spent)

    def pause(self, *, wait: bool = True, source: str = "code") -> None:
        """Pause after the current step. With ``wait``, return when the run is at rest."""
        self.worker.rest(RunState.PAUSED, source, wait)

    def stop(self, *, wait: bool = True, source: str = "code") -> None:
        """End the run where it is; `resume` can still go on from there."""
        self.worker.rest(RunState.STOPPED, source, wait)

    def halt(self, timeout: float) -> None:
        """Pause at the very next event, and wait for it: the process ends."""
        self.worker.halt(timeout)

    def release_workers(self) -> None:
        """Let the worker processes of a `DataLoader` go while the run is at rest; does nothing while it trains.

        A pause keeps them, so that going on costs nothing. Going on starts others, and trains as if they had stayed.
        """
        self.worker.release_workers()

    def wait(self, timeout: float | None = None) -> RunState:
        """Block until the run has ended, or for ``timeout`` seconds; return the state.

        Raises
        ------
        BaseException
            The exception that ended the run, if one did.
        """
        self.worker.wait(self.worker.has_ended, timeout)
        return self.state

    def fit(self) -> Self:
        """Train to the end in this thread, with a progress line: for scripts. Returns the run.

        Raises
        ------
        BaseException
            Whatever model, loss or data raise. Ctrl-C pauses the run, and `resume` or `fit` goes on.
        """
        self.worker.go(math.inf, "code", ProgressLine(self))
        self.wait()
        return self

    def events(self) -> Iterator[Event]:
        """Return the loop's events, for a caller who pulls them: each ``next`` does one thing, a step at most.

        Raises
        ------
        TypeError, ValueError
            For data that do not fit each other or the model.
        """
        events = self.worker.events()
        if self.recorder is not None:
            self.recorder.begin()
        return events

    def _ask(self, changes: dict[str, object], source: str) -> None:
        self.worker.ask(changes, source)
