"""`Standing`: where something that trains stands, to be read at any time and from any thread."""

from __future__ import annotations

from typing import Any

from nbopt.hyperparams import Hyperparams
from nbopt.record.history import History
from nbopt.record.snapshots import Snapshots
from nbopt.techniques.plan import Plan
from nbopt.training.changes.queue import ChangeQueue
from nbopt.training.stage import Stage


class Standing:
    """How far something has come, how fast, and what is still to come: a `Session` reads it off its stage.

    Attributes
    ----------
    hyperparams : Hyperparams
    history : History
    changes : ChangeQueue
    """

    hyperparams: Hyperparams
    history: History
    changes: ChangeQueue

    @property
    def stage(self) -> Stage:
        """What the run's position is read from, and what its changes act on.

        Examples
        --------
        >>> run.step(3)
        >>> run.stage.step
        3
        """
        return self.changes.stage

    @property
    def step_count(self) -> int:
        """The number of steps completed.

        Examples
        --------
        >>> run.step(3)
        >>> run.step_count
        3
        """
        return self.stage.step

    @property
    def epoch(self) -> int:
        """The number of epochs completed.

        Examples
        --------
        >>> run.set(batch_size=20)  # of 60 samples
        >>> run.step(5)
        >>> run.epoch
        1
        """
        return self.stage.epoch

    @property
    def progress(self) -> float:
        """The number of epochs completed, the current one counted in part.

        Examples
        --------
        >>> run.set(batch_size=15)  # of 60 samples
        >>> run.step(6)
        >>> run.progress
        1.5
        """
        return self.stage.progress

    @property
    def share(self) -> float:
        """The fraction of the run that is done, from 0 to 1: of its steps, if `last_step` is known, else of its epochs.

        Examples
        --------
        >>> run.set(batch_size=30, epochs=4)  # of 60 samples
        >>> run.step(2)
        >>> run.share
        0.25
        """
        last = self.last_step
        return self.stage.share if last is None else min(1.0, self.step_count / last)

    @property
    def last_step(self) -> int | None:
        """The number of steps with which the run ends: its ``steps``, or in a replay those to repeat; None in epochs.

        Examples
        --------
        >>> run.last_step is None
        True
        >>> run.set(steps=500)
        >>> run.last_step
        500
        """
        return self.plan.steps or None

    @property
    def plan(self) -> Plan:
        """How long the run is, and when it is validated.

        Examples
        --------
        >>> run.plan.has_end
        True
        """
        return self.stage.plan or Plan.of(self.hyperparams)

    @property
    def steps_per_second(self) -> float | None:
        """The recent speed in steps per second; None before it is known.

        Examples
        --------
        >>> run.steps_per_second is None
        True
        """
        return self.stage.steps_per_second

    @property
    def seconds_left(self) -> float | None:
        """The seconds left at the mean speed so far; None before it is known.

        Examples
        --------
        >>> run.seconds_left is None
        True
        """
        seconds, share = self.history.last("_time"), self.share
        return seconds / share * (1 - share) if seconds and share else None

    @property
    def pending(self) -> frozenset[str]:
        """The names of the hyperparameters with a new value that is not yet applied.

        Examples
        --------
        >>> run.set(lr=0.01)  # nobody trains: it acts at once
        >>> run.pending
        frozenset()
        """
        return self.changes.pending

    @property
    def stopping(self) -> Any:
        """The best validation so far, ``best`` at ``best_step``, and the patience ``left``; None before the start.

        Examples
        --------
        >>> validated = nbopt.Run(torch.nn.Linear(4, 3), (X, y), val=0.2, epochs=3, store=None)
        >>> validated.step(5)
        >>> validated.stopping.best_step <= 5
        True
        """
        return self.stage.judge

    @property
    def technique_facts(self) -> list[tuple[str, str]]:
        """What techniques report about their state, such as the patience left: pairs of a name and a value.

        Examples
        --------
        >>> run.technique_facts
        []
        """
        return self.stage.technique_facts

    @property
    def snapshots(self) -> Snapshots:
        """The states in memory that the run can go back to; none before the start.

        A snapshot is taken about once a second, less often for a large model, so that it costs 2 % of the time. They
        take up to 512 MiB; for larger models, twelve are kept within a quarter of the available memory. The further
        back, the fewer are kept. The store keeps three of them.

        Examples
        --------
        >>> run.step(3)
        >>> [snapshot.step for snapshot in run.snapshots][0]
        0
        """
        return self.stage.snapshots
