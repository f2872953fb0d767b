"""The learning rate that a step uses: what becomes of the base rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbopt.data.stream_source import StreamSource
from nbopt.parts.planned_rates import Cosine, Exponential, Linear, OneCycle, StepDecay
from nbopt.parts.schedules import SCHEDULES
from nbopt.words import _

if TYPE_CHECKING:
    from nbopt.engine.training import Training

_BY_EPOCHS = (StepDecay, Exponential)
_BY_LENGTH = (Linear, Cosine, OneCycle)


def set_rate(training: Training) -> None:
    """Give the optimizer the rate of the step that is under way, where it has one and something changes it."""
    changes = training.acting.change_rate
    if not changes or not training.optimizer.rated:
        return
    step, epoch, rate = training.step, training.cursor.progress, training.optimizer.lr
    done = training.plan.share(step, epoch)
    for change in changes:
        rate = change(rate, step, epoch, done)
    training.optimizer.set_rate(rate)
    for change_groups in training.acting.change_groups:
        change_groups(training.torch_optimizer.param_groups)
    training.meter.take_rate((step, rate))


def tell_of_standstill(training: Training) -> None:
    """Say once if the rate is to move and, as nobody knows how long an epoch is, does so only between two epochs."""
    source, values = training.cursor.source, training.hyperparams
    if not isinstance(source, StreamSource) or source.length is not None:
        return
    kind = SCHEDULES.get(values["schedule"])
    names = ["warmup"] if values["warmup"] > 0 else []
    if kind in _BY_EPOCHS or (kind in _BY_LENGTH and not values["steps"]):
        names.append("schedule")
    if names:
        training.pass_.tell(
            _(
                "{names}: the stream has no length, so that the learning rate stands still within an epoch. Give the "
                "run's length as steps=..., and that of a warm-up as warmup_steps=...",
                names=", ".join(names),
            )
        )
