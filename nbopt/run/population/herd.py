"""What a population is to whoever pulls it: its members, its state, and who waits for it."""

from __future__ import annotations

import secrets
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from nbopt.errors import check_text, tell_error
from nbopt.record.journal import Journal
from nbopt.run.population.kept import Kept
from nbopt.run.population.member import Member
from nbopt.run.session.operable import Ability
from nbopt.run.session.watched import OfOneProcess
from nbopt.techniques.plan import Plan
from nbopt.training.state import RunState


class Herd(OfOneProcess, Sequence[Member]):
    """Members and the state that they have together.

    Parameters
    ----------
    name : str or None
        None for one made of ``kind`` and the id.
    kind : str

    Attributes
    ----------
    members : list of Member
    size : int
        How many there are, also while they are being made.
    state : RunState
    error : BaseException or None
        The exception that ended it, until it goes on.
    end_reason : str
    watchers : list of callable
        Who is called whenever state or journal changed.
    is_regrouped : bool
        Whether others than before are to go on from the next step.
    is_quiet : bool
        Whether it warns nobody.
    ticks : int
        Steps that were done, those that members have gone back over since too.
    keeping : Kept or None
        What keeps it in the store.
    """

    abilities: ClassVar[frozenset[Ability]] = frozenset(("start", "pause", "step", "stop"))

    def __init__(self, name: str | None, kind: str) -> None:
        self.id = secrets.token_hex(4)
        self.name = check_text("name", name or f"{kind} {self.id[:4]}")
        self.created = time.time()
        self.members: list[Member] = []
        self.size = 0
        self.journal = Journal()
        self.state = RunState.CREATED
        self.error: BaseException | None = None
        self.end_reason = ""
        self.watchers: list[Callable[[], None]] = []
        self.lock = threading.RLock()
        self.moved = threading.Condition(self.lock)
        self.is_regrouped = False
        self.is_quiet = False
        self.ticks = 0
        self.keeping: Kept | None = None
        self._told: set[str] = set()

    def begin(self) -> None:
        """Look at the data and at what is left to do, before the first step since a rest."""
        raise NotImplementedError

    # -- members

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: Any) -> Any:
        return self.members[index]

    def __iter__(self) -> Iterator[Member]:
        return iter(self.members)

    @property
    def training_members(self) -> list[Member]:
        """The members that have not ended.

        Examples
        --------
        >>> population = nbopt.Population(run.model, (X, y), lr=[0.001, 0.01])
        >>> population.stop(members=[0])
        >>> [member.hyperparams["lr"] for member in population.training_members]
        [0.01]
        """
        return [member for member in self if not member.state.is_ended]

    @property
    def step_count(self) -> int:
        """The number of steps completed by the member that is furthest.

        Examples
        --------
        >>> population = nbopt.Population(run.model, (X, y), lr=[0.001, 0.01])
        >>> population.step(3)
        >>> population.step_count
        3
        """
        return max((member.step_count for member in self), default=0)

    # -- what a panel shows

    @property
    def epoch(self) -> int:
        """The number of epochs completed by the member that is furthest.

        Examples
        --------
        >>> population = nbopt.Population(run.model, (X, y), lr=[0.001, 0.01], batch_size=20, epochs=4)
        >>> population.step(4)  # of three an epoch
        >>> population.epoch
        1
        """
        return max((member.epoch for member in self), default=0)

    @property
    def plan(self) -> Plan:
        """The planned length: that of the member with the most steps to do.

        Examples
        --------
        >>> population = nbopt.Population(run.model, (X, y), lr=[0.001, 0.01], batch_size=20, epochs=4)
        >>> population.plan.epochs
        4
        """
        return max((member.plan for member in self), key=lambda plan: (plan.steps, plan.epochs))

    @property
    def share(self) -> float:
        """The fraction of the training that is done, from 0 to 1; members that have ended count as done.

        Examples
        --------
        >>> population = nbopt.Population(run.model, (X, y), lr=[0.001, 0.01], batch_size=20, epochs=4)
        >>> population.step(6)
        >>> population.share
        0.5
        """
        return sum(1.0 if member.state.is_ended else member.share for member in self) / max(1, len(self))

    @property
    def steps_per_second(self) -> float | None:
        """The recent speed of the fastest member in steps per second; None before it is known.

        Examples
        --------
        >>> population = nbopt.Population(run.model, (X, y), lr=[0.001, 0.01], batch_size=20, epochs=4)
        >>> population.steps_per_second is None
        True
        """
        return max((rate for member in self.training_members if (rate := member.steps_per_second)), default=None)

    @property
    def seconds_left(self) -> float | None:
        """The seconds left for the member that takes longest; None before they are known.

        Examples
        --------
        >>> population = nbopt.Population(run.model, (X, y), lr=[0.001, 0.01], batch_size=20, epochs=4)
        >>> population.seconds_left is None
        True
        """
        return max((left for member in self.training_members if (left := member.seconds_left)), default=None)

    def release_workers(self) -> None:
        """Release what takes up resources while the population is paused.

        Examples
        --------
        >>> population = nbopt.Population(run.model, (X, y), lr=[0.001, 0.01], batch_size=20, epochs=4)
        >>> population.step()
        >>> population.release_workers()
        >>> population.step()
        """
        for member in self:
            member.release_workers()

    def watch(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` whenever state or journal change, from any thread. It must therefore be quick.

        Examples
        --------
        >>> population = nbopt.Population(run.model, (X, y), lr=[0.001, 0.01], batch_size=20, epochs=4)
        >>> states = []
        >>> population.watch(lambda: states.append(population.state.name))
        >>> population.step()
        >>> states[-1]
        'PAUSED'
        """
        self.watchers.append(wake)

    def unwatch(self, wake: Callable[[], None]) -> None:
        """Stop calling ``wake``.

        Examples
        --------
        >>> population = nbopt.Population(run.model, (X, y), lr=[0.001, 0.01], batch_size=20, epochs=4)
        >>> woken = []
        >>> wake = lambda: woken.append(population.state)
        >>> population.watch(wake)
        >>> population.unwatch(wake)
        >>> population.step()
        >>> woken
        []
        """
        self.watchers.remove(wake)

    # -- the store

    @property
    def store(self) -> Path | None:
        """The folder in which it is stored, or None.

        Examples
        --------
        >>> nbopt.Population(run.model, (X, y), lr=[0.001, 0.01], store="models").store.name
        'models'
        """
        return None if self.keeping is None else self.keeping.folder

    # -- telling

    def become(self, state: RunState, reason: str = "", source: str = "run") -> None:
        """Enter a state; with a reason, journal it. To steer a population, call `pause` or `stop`.

        Examples
        --------
        >>> population = nbopt.Population(run.model, (X, y), lr=[0.001, 0.01])
        >>> population.become(nbopt.RunState.STOPPED, "the data are used up")
        >>> population.end_reason
        'the data are used up'
        """
        with self.lock:
            self.state, self.end_reason = state, reason
            if reason:
                self.journal.event(self.step_count, state.value, reason, source)
            self.announce()

    def fail(self, error: BaseException) -> None:
        """End by an exception.

        Examples
        --------
        >>> population = nbopt.Population(run.model, (X, y), lr=[0.001, 0.01])
        >>> population.fail(ValueError("no more data"))
        >>> population.state.name
        'FAILED'
        """
        self.error = error
        self.become(RunState.FAILED, tell_error(error))

    def tell(self, text: str) -> None:
        """Say once what the user should know: as a warning, and in the journal.

        Examples
        --------
        >>> import warnings
        >>> population = nbopt.Population(run.model, (X, y), lr=[0.001, 0.01])
        >>> with warnings.catch_warnings(record=True):
        ...     population.tell("the last batch was empty")
        >>> population.journal[-1].new
        'the last batch was empty'
        """
        if text not in self._told:
            self._told.add(text)
            self.journal.event(self.step_count, "note", text)
            if not self.is_quiet:
                with suppress(Warning):  # where they are errors: a word ends no population
                    warnings.warn(text, stacklevel=2)

    def announce(self) -> None:
        """Wake everything that waits for the population or watches it.

        Examples
        --------
        >>> population = nbopt.Population(run.model, (X, y), lr=[0.001, 0.01])
        >>> population.watchers.append(lambda: print("something changed"))
        >>> population.announce()
        something changed
        """
        with self.lock:
            self.moved.notify_all()
        for wake in [*self.watchers]:
            wake()
