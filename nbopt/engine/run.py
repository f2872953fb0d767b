"""`Run`: a training run one can steer while it trains."""

from __future__ import annotations

import math
import secrets
import threading
import time
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from inspect import GEN_RUNNING, getgeneratorstate
from typing import Any, ClassVar

import torch

from nbopt.data.cursor import Cursor
from nbopt.data.sources import StreamSource
from nbopt.engine import loop, prepare
from nbopt.engine.device import pick_device
from nbopt.engine.progress import ProgressLine
from nbopt.engine.state import Changed, Event, Finished, RunState, Stepped
from nbopt.engine.training import Forward, Training
from nbopt.hyperparams import Hyperparams, Int, Tunable
from nbopt.parts.dropout import Dropout, has_various_dropout, own_dropout
from nbopt.parts.losses import loss_choice
from nbopt.parts.metrics import as_metrics
from nbopt.parts.optimizers import optimizer_choice
from nbopt.parts.penalties import L1
from nbopt.parts.stopping import EarlyStopping
from nbopt.record.history import History
from nbopt.record.journal import Entry, Journal
from nbopt.words import _

_FIRST_STEP_SECONDS = 2.0  # how long `start` waits for the first step, to raise what it raises in the user's own cell

_live: weakref.WeakSet[Run] = weakref.WeakSet()
_live_lock = threading.Lock()


def live_runs() -> list[Run]:
    """Return the runs of this process, oldest first."""
    with _live_lock:
        return sorted(_live, key=lambda run: run.created)


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
    loss : str or callable
        A name of ``nbopt.parts.losses.LOSSES`` or ``callable(output, target)`` returning a scalar tensor.
    forward : callable, optional
        ``callable(model, batch) -> (output, target)``, where a batch is not simply (x, y).
    optimizer : str, torch.optim class or instance
    metrics : list of str or callable, optional
        Names of ``nbopt.parts.metrics.METRICS``, or ``callable(output, target)``.
    seed : int
        Decides the order of samples, dropout and the split; not the initial weights, which the model brings.
    device : str or torch.device
        ``"auto"`` picks CUDA, else MPS, else the CPU.
    name : str, optional
        What lists and panels call this run.
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

    viewer: ClassVar[Callable[[Run], dict[str, Any]] | None] = None
    """Shows a run as a panel; set where there is a notebook."""

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
        **hyperparams: Any,
    ) -> None:
        self.model = prepare.check_model(model)
        self.seed = prepare.check_seed(seed)
        prepare.check_val(val)
        self.device = pick_device(device)
        self.metrics = as_metrics(metrics)
        self._data = (train, val)
        self._forward = forward
        self._own_optimizer = prepare.check_optimizer(optimizer, model)

        self._training: Training | None = None
        self.hyperparams = self._declare(loss, optimizer, hyperparams)
        # Values shown that stand for several of the model's own: setting one to what is shown still acts.
        self._untouched = {"dropout"} - hyperparams.keys() if has_various_dropout(model) else set()
        self.inert = self._find_inert()
        for given in sorted(self.inert.keys() & hyperparams.keys()):
            warnings.warn(f"{given}: {self.inert[given]}", stacklevel=2)
        self.history = History()
        self.journal = Journal()
        self.error: BaseException | None = None
        self.end_reason = ""

        self.id = secrets.token_hex(4)
        self.name = name or f"{type(model).__name__} {self.id[:4]}"
        self.created = time.time()
        self._state = RunState.CREATED
        self._queue: deque[tuple[dict[str, Any], str]] = deque()
        self._events: Generator[Event, None, None] | None = None  # the loop last made
        # Guards state and the hand-over between threads; never taken in a step.
        self._lock = threading.Condition(threading.RLock())
        self._thread: threading.Thread | None = None  # who pulls the loop's events; None while nobody does
        self._credit = math.inf  # steps to do before pausing
        self._goal = RunState.RUNNING  # what the puller is asked to become
        self._asked_by = "run"
        self._begun = False  # whether the puller has done its first step
        self.watchers: list[Callable[[], None]] = []
        with _live_lock:
            _live.add(self)

    def _declare(self, loss: Any, optimizer: Any, given: dict[str, Any]) -> Hyperparams:
        hyperparams = Hyperparams()
        choice, own = optimizer_choice(optimizer)
        hyperparams.declare(choice, L1, Dropout, Cursor, Length, EarlyStopping, loss_choice(loss))
        if (dropout := own_dropout(self.model)) is not None:
            own["dropout"] = dropout
        batch_size = getattr(self._data[0], "batch_size", None)  # a DataLoader's
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
        if self._data[1] is None:
            reason = _("without val there is no validation loss to judge by")
            found.update(dict.fromkeys(EarlyStopping.declared(), reason))
        if self._training is not None and isinstance(self._training.cursor.source, StreamSource):
            found["batch_size"] = _("the DataLoader makes its own batches")
        return found

    # -- what a run tells

    @property
    def state(self) -> RunState:
        """Where the run is in its life."""
        return self._state

    @property
    def step_count(self) -> int:
        """Steps completed."""
        return self._training.step if self._training else 0

    @property
    def epoch(self) -> int:
        """Epochs completed."""
        return self._training.cursor.epoch if self._training else 0

    @property
    def progress(self) -> float:
        """Epochs completed, the current one counted in part."""
        return self._training.cursor.progress if self._training else 0.0

    @property
    def steps_per_second(self) -> float | None:
        """Recent speed; None before it is known."""
        return self._training.steps_per_second if self._training else None

    @property
    def seconds_left(self) -> float | None:
        """Seconds to the last epoch's end at the mean speed so far; None before it is known."""
        seconds, progress = self.history.last("_time"), self.progress
        return seconds / progress * max(0.0, self.hyperparams["epochs"] - progress) if seconds and progress else None

    @property
    def has_pending_changes(self) -> bool:
        """Whether changes were asked for that do not act yet."""
        return bool(self._queue)

    @property
    def stopping(self) -> EarlyStopping | None:
        """The best validation so far and the patience left; None before the start."""
        return self._training.stopping if self._training else None

    @property
    def optimizer(self) -> torch.optim.Optimizer | None:
        """The torch optimizer at work; None before the start."""
        return self._training.torch_optimizer if self._training else None

    def __repr__(self) -> str:
        lines = (
            f"{self.state.value}, epoch {self.epoch}/{self.hyperparams['epochs']}",
            f"step {self.step_count}",
        )
        return f"<Run {self.name!r}: {', '.join(lines)}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {"text/plain": repr(self)} if Run.viewer is None else Run.viewer(self)

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
        checked = self.hyperparams.check(changes)
        with self._lock:
            self._queue.append((checked, source))
            if self._is_at_rest():  # nobody else would apply it
                self._apply()
            self._announce()

    def _is_at_rest(self) -> bool:
        """Whether no step is being done, by a thread of the run's own or by whoever pulls `events`."""
        pulled = self._events is not None and getgeneratorstate(self._events) == GEN_RUNNING
        return self._thread is None and not pulled

    def _apply(self) -> list[Entry]:
        """Apply all queued changes. The only place where a hyperparameter changes."""
        entries = []
        while self._queue:
            changes, source = self._queue[0]
            try:
                for name, new in changes.items():
                    if new != self.hyperparams[name] or name in self._untouched:
                        entries.append(self._change(name, new, source))
            finally:
                self._queue.popleft()  # only now: until then it is pending
        return entries

    def _change(self, name: str, new: Any, source: str) -> Entry:
        old = self.hyperparams[name]
        self.hyperparams.assign(name, new)
        self._untouched.discard(name)
        try:
            if self._training is not None:
                self._training.changed(name)
        except Exception:
            self.hyperparams.assign(name, old)
            raise
        return self.journal.change(self.step_count, name, old, new, source)

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
        self._go(math.inf, "start" if self._state is RunState.CREATED else "resume", source)
        if wait:
            self._wait(lambda: self._begun or self._thread is None, _FIRST_STEP_SECONDS)

    def resume(self, *, wait: bool = True, source: str = "code") -> None:
        """Go on: after a pause, a stop, an error put right, or with more ``epochs`` after the end."""
        self.start(wait=wait, source=source)

    def step(self, n: int = 1, *, wait: bool = True, source: str = "code") -> None:
        """Do ``n`` steps, then pause. With ``wait``, return when they are done."""
        steps = Int(1, low=1, high=1, ge=1)
        steps.name = "n"
        self._go(steps.check(n), "step", source)
        if wait:  # or until someone lets it run on
            self._wait(lambda: self._thread is None or self._credit == math.inf)

    def pause(self, *, wait: bool = True, source: str = "code") -> None:
        """Pause after the current step. With ``wait``, return when the run is at rest."""
        self._ask(RunState.PAUSED, source, wait)

    def stop(self, *, wait: bool = True, source: str = "code") -> None:
        """End the run where it is; `resume` can still go on from there."""
        with self._lock:
            if self._thread is None and self._state in (RunState.CREATED, RunState.PAUSED):
                self._become(RunState.STOPPED, _("stopped by hand"), source)
        self._ask(RunState.STOPPED, source, wait)

    def wait(self, timeout: float | None = None) -> RunState:
        """Block until the run has ended, or for ``timeout`` seconds; return the state.

        Raises
        ------
        BaseException
            The exception that ended the run, if one did.
        """
        self._wait(lambda: self._state.is_ended and self._thread is None, timeout)
        return self._state

    def fit(self) -> Run:
        """Train to the end in this thread, with a progress line: for scripts. Returns the run.

        Raises
        ------
        BaseException
            Whatever model, loss or data raise. Ctrl-C pauses the run, and `resume` or `fit` goes on.
        """
        self._go(math.inf, "start" if self._state is RunState.CREATED else "resume", "code", ProgressLine(self))
        self.wait()
        return self

    def events(self) -> Iterator[Event]:
        """Return the loop's events, for a caller who pulls them: each ``next`` does one thing, a step at most.

        Raises
        ------
        TypeError, ValueError
            For data that do not fit each other or the model.
        """
        with self._lock:
            if self._thread is not None:
                raise RuntimeError(_("the run trains in a thread of its own: pause it before pulling its events."))
            if self._training is None:
                self._training = self._prepare()
                self.inert = self._find_inert()
            self._events = loop.events(self._training, self._queue, self._apply)
            return self._events

    # -- behind it

    def _prepare(self) -> Training:
        device = self.device.torch
        train, val = prepare.make_sources(*self._data, self.seed, device)
        return Training(
            self.model.to(device),
            train,
            val,
            self.hyperparams,
            self.history,
            self.metrics,
            self._forward,
            self._own_optimizer,
            self.seed,
            device,
            keep_dropout="dropout" in self._untouched,
        )

    def _go(self, credit: float, event: str, source: str, progress: ProgressLine | None = None) -> None:
        """Let a thread pull events; with a progress line, this one."""
        with self._lock:
            self._credit = credit
            self._goal, self._asked_by = RunState.RUNNING, source
            if self._thread is not None:
                return
            try:
                events = self.events()
            except Exception as error:
                self._fail(error)
                raise
            assert self._training is not None
            if self._state is RunState.FINISHED:
                self._training.reopen()
                if reason := self._training.end_reason():
                    rule = _("the run is complete ({reason}). Set epochs higher to go on.", reason=reason)
                    raise RuntimeError(rule)
            self.error = None
            self._begun = False
            self.journal.event(self.step_count, event, source=source)
            self._become(RunState.RUNNING)
            if progress is None:
                self._thread = threading.Thread(
                    target=self._drive, args=(events,), name=f"nbopt {self.name}", daemon=True
                )
                self._thread.start()
                return
            self._thread = threading.current_thread()
        self._drive(events, progress)

    def _drive(self, events: Iterator[Event], progress: ProgressLine | None = None) -> None:
        """Pull events until the run is to rest."""
        training = self._training
        assert training is not None
        training.tick(running=True)
        try:
            for event in events:
                kind = type(event)
                if kind is Stepped:
                    self._credit -= 1
                    if not self._begun:
                        self._begun = True
                        self._announce()
                elif kind is Changed:
                    self._announce()
                if progress is not None:
                    progress.update()
                if self._credit <= 0 or self._goal is not RunState.RUNNING or kind is Finished:
                    with self._lock:
                        if self._is_due(event):
                            self._rest(event)
                            break
        except Exception as error:
            with self._lock:
                with suppress(Exception):  # the first error is the one to tell
                    training.flush()
                    self._apply()
                self._fail(error)
                self._leave()
        except BaseException:  # Ctrl-C in fit
            with self._lock:
                if self._thread is threading.current_thread():
                    self._goal = RunState.PAUSED
                    self._rest(None)
            raise
        finally:
            if progress is not None:
                progress.close()

    def _is_due(self, event: Event) -> bool:
        """Whether the run is to rest now; asked under the lock, so that no request slips in between."""
        assert self._training is not None
        if isinstance(event, Finished) or self._goal is RunState.STOPPED:
            return True
        if self._credit > 0 and self._goal is RunState.RUNNING:
            return False
        # A validation is seen through before a pause; and where nothing is left to do, the run finishes.
        return not self._training.validation_due and not self._training.end_reason()

    def _rest(self, event: Event | None) -> None:
        """Bring the run to rest after ``event``: finished, stopped or paused."""
        assert self._training is not None
        self._training.flush()
        self._apply()  # nothing that was asked for is left behind
        if isinstance(event, Finished):
            if self._training.restore_best():
                self.journal.event(self.step_count, "restore_best", self._training.stopping.best_step)
            self._become(RunState.FINISHED, event.reason)
        elif self._goal is RunState.STOPPED:
            self._become(RunState.STOPPED, _("stopped by hand"), self._asked_by)
        else:
            self.journal.event(self.step_count, "pause", source=self._asked_by)
            self._become(RunState.PAUSED)
        self._leave()

    def _leave(self) -> None:
        """Pull no more."""
        assert self._training is not None
        self._training.tick(running=False)
        self._thread = None
        self._announce()

    def _fail(self, error: Exception) -> None:
        self.error = error
        self._become(RunState.FAILED, f"{type(error).__name__}: {error}")

    def _become(self, state: RunState, reason: str = "", source: str = "run") -> None:
        self._state = state
        self.end_reason = reason
        if reason:
            self.journal.event(self.step_count, state.value, reason, source)
        self._announce()

    def _ask(self, goal: RunState, source: str, wait: bool) -> None:
        with self._lock:
            if self._thread is None:
                return
            if self._goal is not RunState.STOPPED:
                self._goal, self._asked_by = goal, source
        if wait:  # or until someone lets it go on
            self._wait(lambda: self._thread is None or self._goal is RunState.RUNNING)

    def _wait(self, done: Callable[[], bool], timeout: float | None = None) -> None:
        """Block until ``done``; raise the exception that ended the run, if one did."""
        if self._thread is not threading.current_thread():  # a metric or model of the user's that asks for a pause
            with self._lock:
                self._lock.wait_for(done, timeout)
        if self._state is RunState.FAILED and self.error is not None:
            raise self.error

    def watch(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` from now on whenever state or journal changed: from any thread, so it must be quick."""
        self.watchers.append(wake)

    def unwatch(self, wake: Callable[[], None]) -> None:
        """Stop calling ``wake``."""
        self.watchers.remove(wake)

    def _announce(self) -> None:
        with self._lock:
            self._lock.notify_all()
        for wake in list(self.watchers):
            wake()
