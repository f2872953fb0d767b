"""What a run tells about itself: where it is, how it does, what is at work."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from nbopt.hyperparams import Hyperparams
from nbopt.i18n import _
from nbopt.record.history import History
from nbopt.record.snapshots import Snapshots
from nbopt.run.driver import Driver
from nbopt.run.registry import live_runs
from nbopt.techniques.plan import Plan
from nbopt.training.changes import ChangeQueue
from nbopt.training.state import RunState

if TYPE_CHECKING:
    from nbopt.run.run import Run
    from nbopt.run.spec import RunSpec


class Facts:
    """The part of a `Run` that is only read."""

    id: str
    name: str
    hyperparams: Hyperparams
    history: History
    changes: ChangeQueue
    spec: RunSpec
    driver: Driver

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
    def converted(self) -> str:
        """What types of numbers the data were converted from and to, in words; "" before the start, or if none were."""
        training = self.driver.training
        sources = (training.cursor.source, training.val) if training else ()
        return "; ".join(dict.fromkeys(source.converted for source in sources if source and source.converted))

    @property
    def exact(self) -> bool | None:
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
        return self.driver.exactness.verdict

    @property
    def exactness(self) -> str:
        """The same in words: "exact", or "not exact: ..." with the step, the two values, and why; "" before.

        Examples
        --------
        >>> run.step(9)
        >>> run.rewind(5)
        >>> run.exactness
        'exact'
        """
        return self.driver.exactness.words

    @property
    def seconds_left(self) -> float | None:
        """Seconds to the run's end at the mean speed so far; None before it is known."""
        seconds, share = self.history.last("_time"), self.share
        return seconds / share * (1 - share) if seconds and share else None

    @property
    def share(self) -> float:
        """The part of the run that is done, from 0 to 1: of its ``steps`` where those are given, else of its epochs."""
        return self.driver.training.share if self.driver.training else 0.0

    @property
    def plan(self) -> Plan:
        """How long the run is, and when it is validated."""
        return self.driver.training.plan if self.driver.training else Plan.of(self.hyperparams)

    @property
    def given(self) -> frozenset[str]:
        """The hyperparameters that the run was given by name."""
        return frozenset(self.spec.hyperparams)

    @property
    def pending(self) -> frozenset[str]:
        """The hyperparameters asked for whose new values do not act yet."""
        return self.changes.pending

    @property
    def stopping(self) -> Any:
        """The best validation so far, ``best`` at ``best_step``, and the patience ``left``; None before the start."""
        return self.driver.training.judge if self.driver.training else None

    @property
    def technique_facts(self) -> list[tuple[str, str]]:
        """What techniques tell of where they are, as the patience left: names and values."""
        return self.driver.training.acting.facts if self.driver.training else []

    @property
    def optimizer(self) -> torch.optim.Optimizer | None:
        """The torch optimizer at work; None before the start."""
        return self.driver.training.torch_optimizer if self.driver.training else None

    @property
    def snapshots(self) -> Snapshots:
        """The states kept in memory, to go back to; none before the start.

        They are taken about once a second, and of a large model so seldom that it costs 2 % of the time. They take 512
        MiB at most; twelve of a large model take more, up to a quarter of the memory that is available. Of what is far
        back, fewer are kept. On the disk, in the store, are three: the first, the best and the newest.
        """
        return self.driver.training.snapshots if self.driver.training else Snapshots()

    @property
    def branches(self) -> list[Run]:
        """The runs of this process that branched off this one, oldest first; replays too."""
        return [run for run in live_runs() if run.parent == self.id]

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

    def __repr__(self) -> str:
        where = f"epoch {self.epoch}{self.plan.of_epochs}, step {self.step_count}{self.plan.of_steps}"
        return f"<Run {self.name!r}: {self.state.value}, {where}>"
