"""`Session`: what a run shares with whatever else can be shown and steered in a panel."""

from __future__ import annotations

import secrets
import time
import warnings
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from nbopt.errors import check_text
from nbopt.hyperparams import Hyperparams
from nbopt.hyperparams.values import tell_unused
from nbopt.i18n import _
from nbopt.record.history import History
from nbopt.record.journal import Journal
from nbopt.record.snapshots import Snapshot
from nbopt.run.session.attributes import check_assigned
from nbopt.run.session.standing import Standing
from nbopt.run.session.steerable import Ability
from nbopt.run.session.viewer import Viewer
from nbopt.run.session.watched import Watched
from nbopt.run.session.work import Work
from nbopt.store.recorder import Recorder
from nbopt.training.changes.queue import ChangeQueue
from nbopt.training.device import Device
from nbopt.training.material import Material
from nbopt.training.prepare import check_in_time
from nbopt.training.stage import Stage
from nbopt.training.state import RunState


class Session(Standing, Watched):
    """Something that trains, with all that a panel shows of it: see `nbopt.run.session.steerable.Steerable`.

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
    _told: frozenset[str] = frozenset()

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
        super().__init__()
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
        self.recorder: Recorder | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        """Raise AttributeError for a hyperparameter, which `set` changes, and for what a run is made of."""
        check_assigned(vars(self), name, value)
        if name == "speed" and "pace" not in self.abilities:
            self._refuse("pace")
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        where = f"epoch {self.epoch}{self.plan.of_epochs}, step {self.step_count}{self.plan.of_steps}"
        return f"<{type(self).__name__} {self.name!r}: {self.state.value}, {where}>"

    def set(self, *, source: str = "code", **changes: Any) -> None:
        """Change hyperparameters from the next step on.

        Returns once the changes are queued. May be called from any thread.

        Parameters
        ----------
        source : str
            Who asks, for the journal.
        **changes
            New values by name. If one of them is not legal, none is applied. A warning names those that have no
            effect in this run, see `inert`.

        Raises
        ------
        InvalidHyperparam
            For an unknown name or an illegal value, for one that comes too late, or for values that conflict.

        Examples
        --------
        >>> run.set(lr=0.01, batch_size=20)
        >>> run.hyperparams["lr"]
        0.01
        >>> run.journal.changes()[-1].name
        'batch_size'
        """
        checked = self.hyperparams.check(changes)
        begun = int(self.state is RunState.RUNNING)  # its first step may be done before the change is
        check_in_time(checked, self.hyperparams, max(begun, self.step_count))
        self._ask(checked, check_text("source", source))
        unused = {name: self.inert[name] for name in self.inert.keys() & checked.keys()}
        tell_unused({**unused, **self.hyperparams.find_overruled(checked)})

    def _ask(self, changes: dict[str, Any], source: str) -> None:
        """Queue checked changes, for whoever trains to apply."""
        with self.lock:
            self.changes.ask(changes, source)
            self.announce()

    def start(self, *, wait: bool = True, source: str = "code") -> None:
        """Train from where it is; where it does already, do nothing."""
        self._refuse("start")

    def resume(self, *, wait: bool = True, source: str = "code") -> None:
        """Continue after a pause, a stop or an error or, with more ``epochs`` or ``steps``, after the end.

        Parameters
        ----------
        wait : bool
            Wait for the first step, as `start` does.
        source : str
            Who asks, for the journal.

        Examples
        --------
        >>> run.step(3)
        >>> run.resume()
        >>> run.wait() is nbopt.RunState.FINISHED
        True
        """
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
        """Enter a state; with a reason, journal it. Whoever trains calls it: to steer a run, call `pause` or `stop`.

        Examples
        --------
        >>> run.become(nbopt.RunState.STOPPED, "the data are used up")
        >>> run.end_reason
        'the data are used up'
        """
        with self.lock:
            self.state, self.end_reason = state, reason
            if state.is_ended:
                self.stage.release()
            if reason:
                self.journal.event(self.step_count, state.value, reason, source)
            self.announce()

    def tell(self, text: str) -> None:
        """Say once what the user should know: as a warning, and in the journal.

        Examples
        --------
        >>> import warnings
        >>> with warnings.catch_warnings(record=True):
        ...     run.tell("the last batch was empty")
        >>> run.journal[-1].new
        'the last batch was empty'
        """
        if text not in self._told:
            self._told |= {text}
            self.journal.event(self.step_count, "note", text)
            with suppress(Warning):  # where they are errors: a word ends no run
                warnings.warn(text, stacklevel=2)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        viewer = type(self).viewer
        return {"text/plain": repr(self)} if viewer is None else viewer.mimebundle(self)

    def show(self) -> None:
        """Show the panel below the running cell; outside a notebook, print one line.

        Examples
        --------
        >>> run.show()
        <Run 'Sequential ...': created, epoch 0/10, step 0>
        """
        if (viewer := type(self).viewer) is None:
            print(self)  # on the thread of who asked for it: the training thread never does
        else:
            viewer.show(self)
