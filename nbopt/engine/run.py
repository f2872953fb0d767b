"""`Run`: a training run one can steer while it trains."""

from __future__ import annotations

import atexit
import math
import secrets
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import torch

from nbopt.data.cursor import Cursor
from nbopt.data.sources import StreamSource
from nbopt.engine import export, past, prepare
from nbopt.engine.changes import Changes
from nbopt.engine.device import pick_device
from nbopt.engine.driver import Driver
from nbopt.engine.finder import Sweep, find_lr
from nbopt.engine.identity import describe
from nbopt.engine.progress import ProgressLine
from nbopt.engine.state import Event, RunState
from nbopt.engine.step.passes import Forward
from nbopt.engine.step.tiers import Pace
from nbopt.engine.training import Training
from nbopt.hyperparams import Hyperparams, Int, Tunable
from nbopt.parts.accumulation import Accumulation
from nbopt.parts.catalogue import PARTS
from nbopt.parts.dropout import Dropout, has_various_dropout, own_dropout
from nbopt.parts.guard import Guard
from nbopt.parts.losses import loss_choice
from nbopt.parts.metrics import as_metrics
from nbopt.parts.optimizers import optimizer_choice
from nbopt.parts.stopping import EarlyStopping
from nbopt.record.history import History
from nbopt.record.journal import Journal
from nbopt.record.recipe import to_yaml
from nbopt.record.recorder import Glance, Recorder
from nbopt.record.script import to_python
from nbopt.record.snapshots import Snapshot, Snapshots
from nbopt.record.store import AUTO, Made, Place, folder_of
from nbopt.words import _

_FIRST_STEP_SECONDS = 2.0  # how long `start` waits for the first step, to raise what it raises in the user's own cell
_LAST_STEP_SECONDS = 5.0  # how long the end of the process waits for a step to end

_live: weakref.WeakSet[Run] = weakref.WeakSet()
_live_lock = threading.Lock()


def live_runs() -> list[Run]:
    """Return the runs of this process, oldest first."""
    with _live_lock:
        return sorted(_live, key=lambda run: run.created)


@atexit.register
def _halt_all() -> None:
    for run in live_runs():
        run.driver.halt(_LAST_STEP_SECONDS)


class Viewer(Protocol):
    """What a notebook does with runs."""

    def mimebundle(self, run: Run) -> dict[str, Any]:
        """Return the panel, as a cell's result."""

    def show(self, run: Run) -> None:
        """Put the panel under the running cell."""

    def made(self, run: Run) -> None:
        """Take note of a new run, before it has done anything."""


class Length(Tunable):
    """How long a run is."""

    epochs = Int(
        20,
        low=1,
        high=200,
        ge=1,
        label=_("Epochs"),
        group=_("Batches"),
        help=_("Passes over the training data. Raise it to train a finished run further."),
    )


class Run:
    """A training run. Show it as the last expression of a cell, and steer it.

    Parameters
    ----------
    model : torch.nn.Module
        Trained in place, moved to the device.
    train : tuple of arrays or tensors, Dataset or DataLoader
        ``(X, y)``, each of shape (n, ...). float64 becomes float32, integers become int64.
    val : same kinds, float or None
        A float in (0, 1) is a share of ``train``: seeded, stratified for class labels.
    loss : str, callable or list
        A name of ``nbopt.parts.losses.LOSSES``; ``callable(output, target)`` returning a scalar tensor; or a list of
        terms, each one of these or a pair (weight, one of these).
    forward : callable, optional
        ``callable(model, batch) -> (output, target)``, where a batch is not simply (x, y).
    optimizer : str, torch.optim class or instance
    metrics : list of str or callable, optional
        Names of ``nbopt.parts.metrics.METRICS``, names of scikit-learn's scorers, ``callable(output, target)``, or
        objects with ``update``, ``compute`` and ``reset``.
    seed : int
        Decides the order of samples, dropout and the split; not the initial weights, which the model brings.
    device : str or torch.device
        ``"auto"`` picks CUDA, else MPS, else the CPU.
    name : str, optional
        What lists and panels call this run.
    store : str, path or None
        The folder that keeps the run beyond this process, see `nbopt.open`: by default ``NBOPT_HOME``, else ``.nbopt``
        in the working directory. None keeps nothing.
    **hyperparams
        Any declared hyperparameter: ``lr``, ``batch_size``, ``epochs``, ... Giving ``patience`` or ``min_delta``
        switches ``early_stopping`` on.

    Raises
    ------
    InvalidHyperparam
        For an unknown name or an illegal value (a ``ValueError`` and ``TypeError``).
    TypeError, ValueError
        For a model that cannot be trained. Data are checked at the start.
    """

    viewer: ClassVar[Viewer | None] = None
    """Shows runs as panels; set where there is a notebook."""

    def __init__(
        self,
        model: torch.nn.Module,
        train: Any,
        val: Any = None,
        loss: Any = "cross_entropy",
        *,
        forward: Forward | None = None,
        optimizer: Any = "adam",
        metrics: Any = None,
        seed: int = 0,
        device: str | torch.device = "auto",
        name: str | None = None,
        store: Place | None = AUTO,
        **hyperparams: Any,
    ) -> None:
        self.model = prepare.check_model(model)
        self.seed = prepare.check_seed(seed)
        prepare.check_val(val)
        self.device = pick_device(device)
        self.metrics = as_metrics(metrics)
        self.data = (train, val)
        self.origin = train  # of a branch too, whose data are cut to size
        self.val_fraction = val if isinstance(val, float) else None
        self.forward = forward
        self.own_optimizer = prepare.check_optimizer(optimizer, model)
        self.given = {"loss": loss, "optimizer": optimizer, "metrics": metrics, **hyperparams}

        self.hyperparams = self._declare(loss, optimizer, hyperparams)
        # Values shown that stand for several of the model's own: setting one to what is shown still acts.
        self._untouched = {"dropout"} - hyperparams.keys() if has_various_dropout(model) else set()
        self.initial = dict(self.hyperparams)
        self.history = History()
        self.journal = Journal()
        self.id = secrets.token_hex(4)
        self.name = name or f"{type(model).__name__} {self.id[:4]}"
        self.created = time.time()
        self.parent: str | None = None  # the run it branched off or repeats
        self.store = None if store is None else folder_of(store)
        self.changes = Changes(self.hyperparams, self.journal, self._untouched)
        self.driver = Driver(self.name, self._prepare, self.changes, self.journal)
        self.inert = self._find_inert()
        for inert in sorted(self.inert.keys() & hyperparams.keys()):
            warnings.warn(f"{inert}: {self.inert[inert]}", stacklevel=2)
        self.recorder = None if self.store is None else self._make_recorder(self.store)
        with _live_lock:
            _live.add(self)
        if Run.viewer is not None:
            Run.viewer.made(self)

    def _make_recorder(self, folder: Path) -> Recorder:
        # It outlives the run, to write what is left; so it must not hold it.
        ref = weakref.ref(self)

        def made() -> Made | None:
            return None if (run := ref()) is None else describe(run)

        def look() -> Glance | None:
            return None if (run := ref()) is None else run._glance()

        recorder = Recorder(folder, self.journal, self.history, made, look)
        weakref.finalize(self, recorder.close).atexit = False
        return recorder

    def _glance(self) -> Glance:
        training = self.driver.training
        if training is None:
            return Glance(0, 0, None, None)
        best = training.stopping.best
        return Glance(training.step, training.cursor.epoch, best if math.isfinite(best) else None, training.snapshots)

    def _declare(self, loss: Any, optimizer: Any, given: dict[str, Any]) -> Hyperparams:
        hyperparams = Hyperparams()
        choice, own = optimizer_choice(optimizer)
        hyperparams.declare(choice, Dropout, Cursor, Length, EarlyStopping, loss_choice(loss))
        hyperparams.declare(*PARTS, Accumulation, Guard, Pace)
        if (dropout := own_dropout(self.model)) is not None:
            own["dropout"] = dropout
        batch_size = getattr(self.data[0], "batch_size", None)  # a DataLoader's
        if isinstance(batch_size, int):
            own["batch_size"] = batch_size
        if given.keys() & {"patience", "min_delta"}:
            own["early_stopping"] = True
        for name, value in hyperparams.check({**own, **given}).items():
            hyperparams.assign(name, value)
        return hyperparams

    def _find_inert(self) -> dict[str, str]:
        """Return the hyperparameters that cannot act in this run, each with the reason."""
        found = {}
        if own_dropout(self.model) is None:
            found["dropout"] = _("the model has no dropout layer")
        if self.data[1] is None:
            reason = _("without val there is no validation loss to judge by")
            found.update(dict.fromkeys(EarlyStopping.declared(), reason))
        training = self.driver.training
        if training is not None and isinstance(training.cursor.source, StreamSource):
            found["batch_size"] = _("the DataLoader makes its own batches")
        if training is not None:
            found.update(training.acting.unfit)
        return found

    # -- what a run tells

    @property
    def state(self) -> RunState:
        """Where the run is in its life."""
        return self.driver.state

    @property
    def error(self) -> BaseException | None:
        """The exception that ended the run, until it goes on; `wait` raises it."""
        return self.driver.error

    @property
    def end_reason(self) -> str:
        """Why the run ended, in words; "" where it did not."""
        return self.driver.end_reason

    @property
    def step_count(self) -> int:
        """Steps completed."""
        return self.changes.step

    @property
    def epoch(self) -> int:
        """Epochs completed."""
        return self.driver.training.cursor.epoch if self.driver.training else 0

    @property
    def progress(self) -> float:
        """Epochs completed, the current one counted in part."""
        return self.driver.training.cursor.progress if self.driver.training else 0.0

    @property
    def steps_per_second(self) -> float | None:
        """Recent speed; None before it is known."""
        return self.driver.training.meter.steps_per_second if self.driver.training else None

    @property
    def tier(self) -> str:
        """How steps are done and why, in words: one by one (eager), or several in a compiled call."""
        tiers = self.driver.training.tiers if self.driver.training else None
        if tiers is None or not tiers.steps:
            reason = tiers.reason if tiers else ""
            return _("eager steps ({reason})", reason=reason) if reason else _("eager steps")
        return tiers.reason

    @property
    def seconds_left(self) -> float | None:
        """Seconds to the last epoch's end at the mean speed so far; None before it is known."""
        seconds, progress = self.history.last("_time"), self.progress
        return seconds / progress * max(0.0, self.hyperparams["epochs"] - progress) if seconds and progress else None

    @property
    def pending(self) -> frozenset[str]:
        """The hyperparameters asked for whose new values do not act yet."""
        return self.changes.pending

    @property
    def stopping(self) -> EarlyStopping | None:
        """The best validation so far and the patience left; None before the start."""
        return self.driver.training.stopping if self.driver.training else None

    @property
    def optimizer(self) -> torch.optim.Optimizer | None:
        """The torch optimizer at work; None before the start."""
        return self.driver.training.torch_optimizer if self.driver.training else None

    @property
    def snapshots(self) -> Snapshots:
        """The states kept in memory, to go back to; none before the start."""
        return self.driver.training.snapshots if self.driver.training else Snapshots()

    @property
    def branches(self) -> list[Run]:
        """The runs of this process that branched off this one, oldest first; replays too."""
        return [run for run in live_runs() if run.parent == self.id]

    def __repr__(self) -> str:
        lines = (
            f"{self.state.value}, epoch {self.epoch}/{self.hyperparams['epochs']}",
            f"step {self.step_count}",
        )
        return f"<Run {self.name!r}: {', '.join(lines)}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {"text/plain": repr(self)} if Run.viewer is None else Run.viewer.mimebundle(self)

    def show(self) -> None:
        """Show the panel again, under the running cell; outside a notebook, print one line."""
        if Run.viewer is None:
            print(self)
        else:
            Run.viewer.show(self)

    # -- the seam for change

    def set(self, *, source: str = "code", **changes: Any) -> None:
        """Ask for new values; they act from the next step on. Returns when queued; callable from any thread.

        Parameters
        ----------
        source : str
            Who asks, for the journal.
        **changes
            New values by hyperparameter name; all of them or, if one is not legal, none.

        Raises
        ------
        InvalidHyperparam
            For an unknown name or an illegal value.
        """
        self.driver.ask(self.hyperparams.check(changes), source)

    # -- transport

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
            If the run is complete: raise ``epochs`` to go on.
        """
        self.driver.go(math.inf, source)
        if wait:
            self.driver.wait(self.driver.has_begun, _FIRST_STEP_SECONDS)

    def resume(self, *, wait: bool = True, source: str = "code") -> None:
        """Go on: after a pause, a stop, an error put right, or with more ``epochs`` after the end."""
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

    def wait(self, timeout: float | None = None) -> RunState:
        """Block until the run has ended, or for ``timeout`` seconds; return the state.

        Raises
        ------
        BaseException
            The exception that ended the run, if one did.
        """
        self.driver.wait(self.driver.has_ended, timeout)
        return self.state

    def fit(self) -> Run:
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

    # -- the past

    def rewind(self, to: int | str | Snapshot, *, source: str = "code") -> None:
        """Go back to where the run was, before any change made there; it then rests there.

        Exact at any step: from the nearest snapshot before it, the steps between are done again.

        Parameters
        ----------
        to : int, "best" or Snapshot
            A number of steps done.

        Raises
        ------
        InvalidHyperparam
            If the run has not been there.
        """
        past.rewind(self, to, source)

    def branch(
        self, at: int | str | Snapshot = "best", *, name: str | None = None, source: str = "code", **changes: Any
    ) -> Run:
        """Return a new run with its own copy of the model, that goes on from where this one was, at rest.

        Parameters
        ----------
        at : int, "best" or Snapshot
            A number of steps done.
        **changes
            Hyperparameters that are to be different from there on.

        Raises
        ------
        InvalidHyperparam
            If the run has not been there, or a change is not legal.
        """
        return past.branch(self, at, name, self.hyperparams.check(changes), source)

    def find_lr(self, low: float = 1e-7, high: float = 10.0, steps: int = 100) -> Sweep:
        """Try rising learning rates on a copy of the run, one step each, from where it is (Smith 2017, section 3.3).

        The run itself stays as it is, to the bit; if it trains, it is paused. The sweep ends early where the loss
        explodes. Schedule and guard have no say in it.

        Parameters
        ----------
        low, high : float
            The first and the last rate; those between lie evenly on a log scale.
        steps : int
            How many, at least 10.

        Returns
        -------
        Sweep
            Rates, losses, and a suggestion.

        Raises
        ------
        ValueError
            For rates that do not rise, or too few steps.
        """
        return find_lr(self, low, high, steps)

    def replay(self) -> Run:
        """Return a new run that does again, from the same initial weights, all that this one did, in its own thread.

        On the CPU, with the same number of threads, it ends with the same weights, bit for bit.
        """
        return past.replay(self)

    # -- taking it away

    def to_python(self) -> str:
        """Return a plain PyTorch script, without nbopt, that does again what led to where the run is.

        It holds ``train(model, train, val)``, which takes the model as it was before the run, and returns the values
        of every metric, one for each epoch.

        Raises
        ------
        ValueError
            If the run used something that a script cannot hold, as a DataLoader or a class of the user's.
        """
        return to_python(export.tell(self))

    def to_yaml(self) -> str:
        """Return the run's settings and the changes made on its way as a recipe, to be edited and run again."""
        return to_yaml(export.tell(self))

    @classmethod
    def from_yaml(
        cls, text_or_path: str | Path, model: torch.nn.Module, train: Any, val: Any = None, **callables: Any
    ) -> Self:
        """Return a new run that will follow a recipe.

        Parameters
        ----------
        text_or_path : str or Path
            What `to_yaml` returned, edited or not, or a file that holds it (a str that ends in ``.yaml`` or ``.yml``).
        model, train, val
            As for a run; without ``val``, the recipe's fraction counts.
        **callables
            What a recipe cannot hold: ``loss``, ``optimizer``, ``metrics`` and ``forward`` of the user's own; also
            ``device`` and ``name``.

        Raises
        ------
        ValueError
            For a recipe that cannot be followed; says which entry is wrong, and at which step.
        """
        return export.from_yaml(cls, text_or_path, model, train, val, callables)

    # -- behind it

    def _prepare(self) -> Training:
        device = self.device.torch
        train, val = prepare.make_sources(*self.data, self.seed, device)
        training = Training(
            self.model.to(device),
            train,
            val,
            self.hyperparams,
            self.history,
            self.metrics,
            self.forward,
            self.own_optimizer,
            self.seed,
            device,
            keep_dropout="dropout" in self._untouched,
        )
        training.secure()
        training.snapshots[0].facts["hyperparams"] = self.initial  # before the changes made ahead of the start
        self.driver.training = training
        self.inert = self._find_inert()
        for name in sorted(training.acting.unfit.keys() & self.given.keys()):
            warnings.warn(f"{name}: {self.inert[name]}", stacklevel=2)
        return training

    def watch(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` from now on whenever state or journal changed: from any thread, so it must be quick."""
        self.watchers.append(wake)

    def unwatch(self, wake: Callable[[], None]) -> None:
        """Stop calling ``wake``."""
        self.watchers.remove(wake)

    @property
    def watchers(self) -> list[Callable[[], None]]:
        """Who is called whenever state or journal changed."""
        return self.driver.watchers
