"""The stage of a run that has begun: what its training tells, and what changes do to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from nbopt.data.sources import DatasetSource
from nbopt.i18n import _
from nbopt.record.journal import EDIT, SWITCH, TUNING
from nbopt.record.snapshots import Snapshots
from nbopt.techniques.plan import Plan
from nbopt.training.changes.actions import act
from nbopt.training.changes.hands import find_resettled
from nbopt.training.changes.reactions import react
from nbopt.training.stage import Done
from nbopt.training.structure.edits import make_edit
from nbopt.training.training import Training


class Begun:
    """Where a training stands, and what changes do to it: a `nbopt.training.stage.Stage`.

    Parameters
    ----------
    training : Training
    """

    def __init__(self, training: Training) -> None:
        self.training = training

    # -- where it is

    @property
    def step(self) -> int:
        """Steps completed."""
        return self.training.step

    @property
    def epoch(self) -> int:
        """Epochs completed."""
        return self.training.cursor.epoch

    @property
    def progress(self) -> float:
        """Epochs completed, the current one counted in part."""
        return self.training.cursor.progress

    @property
    def share(self) -> float:
        """The part of the run that is done."""
        return self.training.share

    @property
    def plan(self) -> Plan:
        """How long the run is, and when it is validated."""
        return self.training.plan

    @property
    def steps_per_second(self) -> float | None:
        """Recent speed."""
        return self.training.meter.steps_per_second

    @property
    def judge(self) -> Any:
        """What has the best validation so far."""
        return self.training.judge

    @property
    def technique_facts(self) -> list[tuple[str, str]]:
        """What techniques tell of where they are."""
        return self.training.acting.facts

    @property
    def several(self) -> set[str]:
        """The hyperparameters whose value shown is not what acts everywhere."""
        return self.training.acting.find_several()

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The torch optimizer at work."""
        return self.training.torch_optimizer

    @property
    def snapshots(self) -> Snapshots:
        """The states kept in memory."""
        return self.training.snapshots

    @property
    def tier(self) -> str:
        """How steps are done and why: one operation after the other (eager), or by machine code."""
        tiers = self.training.tiers
        if tiers.steps:
            return tiers.reason
        return _("eager steps ({reason})", reason=tiers.reason) if tiers.reason else _("eager steps")

    @property
    def converted(self) -> str:
        """What types of numbers the data were converted from and to."""
        sources = (self.training.cursor.source, self.training.val)
        return "; ".join(dict.fromkeys(source.converted for source in sources if source and source.converted))

    @property
    def validation_due(self) -> bool:
        """Whether an epoch, or what is to be validated of one, is complete and not yet judged."""
        return self.training.validation_due

    # -- what changes do

    def flush(self) -> None:
        """Look at the losses measured so far."""
        self.training.flush()

    def release(self) -> None:
        """End the processes that fetch samples; whoever goes on starts others."""
        for source in (self.training.cursor.source, self.training.val):
            if isinstance(source, DatasetSource) and source.workers is not None:
                source.workers.stop()

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Have changes made while nobody trains: none of it was made by hand, as others in a rest may be."""
        self.training.hands.look()
        try:
            yield
        finally:
            self.training.hands.leave()

    @contextmanager
    def changing(self, name: str) -> Iterator[None]:
        """Have a change made; where an interrupt falls into it, the training is known to be half-way."""
        training = self.training
        if name == EDIT:  # which is not to be done again to a state that has it
            training.securing.take()
        else:
            training.securing.take_before_change()
        before, training.half_done = training.half_done, True
        try:
            yield
        except Exception:  # refused: it was not taken
            training.half_done = before
            raise
        training.half_done = before

    def changed(self, name: str) -> str:
        """React to a new value of a hyperparameter."""
        return react(self.training, name)

    def take_resettled(self) -> dict[str, Any]:
        """Return the hyperparameters that the user set in the optimizer itself, as they are there now."""
        keys, self.training.resettled = self.training.resettled, {}
        return find_resettled(self.training, keys)

    def take_tuning(self) -> dict[str, Any] | None:
        """Return what the user changed in the model itself."""
        change, self.training.is_tuned = self.training.find_tuning(), False
        return change

    def do(self, name: str, value: Any) -> Done | None:
        """Change how steps are done or the model's shape, take over what the user changed, or do one of `ACTIONS`."""
        if name == SWITCH:
            self.training.tiers.switch(value)
            return Done(value)
        if name == TUNING:
            return Done(value, self.training.tune(value))
        if name == EDIT:
            made, carried = make_edit(self.training, value)
            return None if made is None else Done(made, carried)
        return Done(self.training.judge.best_step) if act(self.training, name) else None
