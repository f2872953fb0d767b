"""`Session`: what a run shares with whatever else can be shown and steered in a panel."""

from __future__ import annotations

import secrets
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from nbopt.errors import check_text
from nbopt.hyperparams import Hyperparams
from nbopt.i18n import _
from nbopt.record.history import History
from nbopt.record.journal import Journal
from nbopt.record.snapshots import Snapshot, Snapshots
from nbopt.run.assigning import check_assigned
from nbopt.run.steerable import Ability
from nbopt.run.viewer import Viewer
from nbopt.run.work import Work
from nbopt.store.recorder import Recorder
from nbopt.techniques.plan import Plan
from nbopt.training.changes import ChangeQueue
from nbopt.training.device import Device
from nbopt.training.material import Material
from nbopt.training.prepare import check_in_time
from nbopt.training.stage import Stage
from nbopt.training.state import RunState


class Session:
    """Something that trains, with all that a panel shows of it: see `nbopt.run.steerable.Steerable`.

    It knows neither threads nor what a step is. A `Run` adds a training and a thread that pulls it; a loop of the
    user's own calls `become`, and applies `changes` between two of its steps.

    Parameters
    ----------
    name : str
    hyperparams : Hyperparams
    stage : Stage
        Where it stands, and what changes act on.
    history : History
    given : iterable of str
        The hyperparameters that were given by name.
    id, created, parent, store : optional
        What it is called in the store, since when it is, what it branched off, and the store's folder.

    Attributes
    ----------
    state : RunState
        Where it is in its life.
    error : BaseException or None
        The exception that ended it, until it goes on.
    end_reason : str
        Why it ended, in words; "" where it did not.
    inert : dict of str to str
        The hyperparameters that cannot act in it, each with the reason.
    watchers : list of callable
        Who is called whenever state or journal changed.
    lock, moved : threading.RLock, threading.Condition
        Guard state and the hand-over between threads, and tell of it; never taken in a step.
    """

    viewer: ClassVar[Viewer | None] = None
    """Shows sessions as panels; set where there is a notebook."""

    abilities: ClassVar[frozenset[Ability]] = frozenset()
    device: Device | None = None
    measures: Sequence[str] = ("loss",)
    later_measures: Sequence[str] = ("lr",)
    notes: Sequence[str] = ()
    exact: bool | None = None
    exactness = opening = caution = ""
    material: Material | None = None
    speed: float | None = None
    work: Work | None = None
    techniques: tuple[Any, ...] = ()

    def __init__(
        self,
        name: str,
        hyperparams: Hyperparams,
        stage: Stage,
        history: History,
        *,
        given: Iterable[str] = (),
        id: str | None = None,
        created: float | None = None,
        parent: str | None = None,
        store: Path | None = None,
    ) -> None:
        self.hyperparams = hyperparams
        self.history = history
        self.journal = Journal()
        self.changes = ChangeQueue(hyperparams, self.journal, stage)
        self.id = id or secrets.token_hex(4)
        self.name = check_text("name", name)
        self.created = time.time() if created is None else created
        self.parent, self.store = parent, store
        self.given = frozenset(given)
        self.inert: dict[str, str] = {}
        self.state = RunState.CREATED
        self.error: BaseException | None = None
        self.end_reason = ""
        self.watchers: list[Callable[[], None]] = []
        self.recorder: Recorder | None = None
        self.lock = threading.RLock()
        self.moved = threading.Condition(self.lock)
        self._told: set[str] = set()

    def __setattr__(self, name: str, value: Any) -> None:
        """Raise AttributeError for a hyperparameter, which `set` changes, and for what a run is made of."""
        check_assigned(vars(self), name, value)
        if name == "speed" and "pace" not in self.abilities:
            self._refuse("pace")
        super().__setattr__(name, value)

    @property
    def stage(self) -> Stage:
        """Where it stands, and what its changes act on."""
        return self.changes.stage

    @property
    def step_count(self) -> int:
        """Steps completed."""
        return self.stage.step

    @property
    def epoch(self) -> int:
        """Epochs completed."""
        return self.stage.epoch

    @property
    def progress(self) -> float:
        """Epochs completed, the current one counted in part."""
        return self.stage.progress

    @property
    def share(self) -> float:
        """The part of the run that is done, from 0 to 1: of its ``steps`` where those are given, else of its epochs."""
        return self.stage.share

    @property
    def plan(self) -> Plan:
        """How long the run is, and when it is validated."""
        return self.stage.plan or Plan.of(self.hyperparams)

    @property
    def steps_per_second(self) -> float | None:
        """Recent speed; None before it is known."""
        return self.stage.steps_per_second

    @property
    def seconds_left(self) -> float | None:
        """Seconds to the run's end at the mean speed so far; None before it is known."""
        seconds, share = self.history.last("_time"), self.share
        return seconds / share * (1 - share) if seconds and share else None

    @property
    def pending(self) -> frozenset[str]:
        """The hyperparameters asked for whose new values do not act yet."""
        return self.changes.pending

    @property
    def stopping(self) -> Any:
        """The best validation so far, ``best`` at ``best_step``, and the patience ``left``; None before the start."""
        return self.stage.judge

    @property
    def technique_facts(self) -> list[tuple[str, str]]:
        """What techniques tell of where they are, as the patience left: names and values."""
        return self.stage.technique_facts

    @property
    def snapshots(self) -> Snapshots:
        """The states kept in memory, to go back to; none before the start.

        They are taken about once a second, and of a large model so seldom that it costs 2 % of the time: 512 MiB, or
        twelve within a quarter of the memory available, the fewer the further back. The store has three of them.
        """
        return self.stage.snapshots

    def __repr__(self) -> str:
        where = f"epoch {self.epoch}{self.plan.of_epochs}, step {self.step_count}{self.plan.of_steps}"
        return f"<{type(self).__name__} {self.name!r}: {self.state.value}, {where}>"

    def set(self, *, source: str = "code", **changes: Any) -> None:
        """Ask for new values; they act from the next step on. Returns when queued; callable from any thread.

        Parameters
        ----------
        source : str
            Who asks, for the journal.
        **changes
            New values by hyperparameter name; all of them or, if one is not legal, none. Warns of those in `inert`.

        Raises
        ------
        InvalidHyperparam
            For an unknown name or an illegal value, or one that comes too late or does not go with another.
        """
        checked = self.hyperparams.check(changes)
        begun = int(self.state is RunState.RUNNING)  # its first step may be done before the change is
        check_in_time(checked, self.hyperparams, max(begun, self.step_count))
        self._ask(checked, check_text("source", source))
        for name in sorted(self.inert.keys() & checked.keys()):
            warnings.warn(f"{name}: {self.inert[name]}", stacklevel=2)

    def _ask(self, changes: dict[str, Any], source: str) -> None:
        """Queue checked changes, for whoever trains to apply."""
        with self.lock:
            self.changes.ask(changes, source)
            self.announce()

    def start(self, *, wait: bool = True, source: str = "code") -> None:
        """Train from where it is; where it does already, do nothing."""
        self._refuse("start")

    def resume(self, *, wait: bool = True, source: str = "code") -> None:
        """Go on: after a pause, a stop, an error put right, or with more ``epochs`` or ``steps`` after the end."""
        self.start(wait=wait, source=source)

    def step(self, n: int = 1, *, wait: bool = True, source: str = "code") -> None:
        """Do ``n`` steps, then pause. With ``wait``, return when they are done."""
        self._refuse("step")

    def pause(self, *, wait: bool = True, source: str = "code") -> None:
        """Pause after the current step. With ``wait``, return when the run is at rest."""
        self._refuse("pause")

    def stop(self, *, wait: bool = True, source: str = "code") -> None:
        """End the run where it is; `resume` can still go on from there."""
        self._refuse("stop")

    def rewind(self, to: int | str | Snapshot, *, source: str = "code") -> None:
        """Go back."""
        self._refuse("rewind")

    def branch(self, at: int | str | Snapshot = "best", *, source: str = "code") -> Session:
        """Return another that goes on from where this one was."""
        self._refuse("branch")

    def _refuse(self, ability: Ability) -> NoReturn:
        known = ", ".join(sorted(self.abilities)) or _("nothing")
        said = _("{name} cannot be asked to {ability}; it can: {known}.", name=self.name, ability=ability, known=known)
        raise NotImplementedError(said)

    def release_workers(self) -> None:
        """Let go what costs something while it rests."""

    def halt(self, timeout: float) -> None:
        """Rest at once: the process ends."""

    def become(self, state: RunState, reason: str = "", source: str = "run") -> None:
        """Enter a state; with a reason, journal it."""
        with self.lock:
            self.state, self.end_reason = state, reason
            if state.is_ended:
                self.stage.release()
            if reason:
                self.journal.event(self.step_count, state.value, reason, source)
            self.announce()

    def tell(self, text: str) -> None:
        """Say once what the user should know: as a warning, and in the journal."""
        if text not in self._told:
            self._told.add(text)
            self.journal.event(self.step_count, "note", text)
            with suppress(Warning):  # where they are errors: a word ends no run
                warnings.warn(text, stacklevel=2)

    def announce(self) -> None:
        """Wake who waits or watches."""
        with self.lock:
            self.moved.notify_all()
        for wake in [*self.watchers]:
            wake()

    def watch(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` from now on whenever state or journal changed: from any thread, so it must be quick."""
        self.watchers.append(wake)

    def unwatch(self, wake: Callable[[], None]) -> None:
        """Stop calling ``wake``."""
        self.watchers.remove(wake)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        viewer = type(self).viewer
        return {"text/plain": repr(self)} if viewer is None else viewer.mimebundle(self)

    def show(self) -> None:
        """Show the panel again, under the running cell; outside a notebook, print one line."""
        if (viewer := type(self).viewer) is None:
            print(self)  # on the thread of who asked for it: the training thread never does
        else:
            viewer.show(self)
