"""What many runs bring into their next steps: batches, the loss's settings, learning rates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nbopt.data.tensor_source import TensorSource
from nbopt.training.many.member import OneOfMany
from nbopt.training.many.noise import Pair
from nbopt.training.rates import find_rates
from nbopt.training.step.eager import RECENT_BATCHES


def is_pair(batch: Any) -> bool:
    """Whether a batch is (x, y), both tensors."""
    return isinstance(batch, (tuple, list)) and len(batch) == 2 and all(isinstance(part, Tensor) for part in batch)


def is_in_memory(training: OneOfMany) -> bool:
    """Whether samples are tensors; others are fetched for one batch at a time, as they may draw or be collated."""
    return isinstance(training.cursor.source, TensorSource)


def stacked(batches: Sequence[Pair]) -> Pair:
    """Return batches in one."""
    x, y = (torch.stack(parts) for parts in zip(*batches, strict=True))
    return x, y


def have_one_source(trainings: Sequence[OneOfMany]) -> bool:
    """Whether all are dealt the same samples, in an order that follows from seed and epoch alone."""
    found = set()
    for training in trainings:
        source = training.cursor.source
        if not isinstance(source, TensorSource) or source.sampler is not None:
            return False
        found.add(tuple(map(id, source.columns)))
    return len(found) == 1


def see_the_same(trainings: Sequence[OneOfMany]) -> bool:
    """Whether the next batches of all, from one source, are the same: one of them then draws for the others."""
    first = trainings[0].cursor
    place = first.seed, first.epoch, first.position, first.batch_size
    for training in trainings:
        cursor = training.cursor
        if (cursor.seed, cursor.epoch, cursor.position, cursor.batch_size) != place:
            return False
    return True


def find_settings(trainings: Sequence[OneOfMany]) -> dict[str, Any]:
    """Return the loss's own hyperparameters: as a tensor, where they differ."""
    settings: dict[str, Any] = {}
    for name in trainings[0].loss.declared():
        values = [getattr(training.loss, name) for training in trainings]
        same = all(value == values[0] for value in values)
        settings[name] = values[0] if same else torch.tensor(values, device=trainings[0].device)
    return settings


def find_step_rates(trainings: Sequence[OneOfMany], count: int) -> Any:
    """Return the learning rates of the next steps, (steps, runs)."""
    rates = np.empty((count, len(trainings)))
    for row, training in enumerate(trainings):
        if is_rated(training):
            rates[:, row] = find_rates(training, count)
        else:
            rates[:, row] = training.torch_optimizer.param_groups[0].get("lr", 0.0)
    return rates


def take_step_rates(trainings: Sequence[OneOfMany], rates: Any) -> None:
    """Take note of learning rates that were used, (steps, runs)."""
    for row, training in enumerate(trainings):
        if is_rated(training):
            own = rates[:, row].tolist()
            training.meter.take_rates(training.step, own)
            training.optimizer.set_rate(own[-1])


def is_rated(training: OneOfMany) -> bool:
    """Whether something changes the learning rate on the way."""
    return bool(training.acting.change_rate) and training.optimizer.rated


def keeps(training: OneOfMany, count: int) -> bool:
    """Whether the outputs of the next steps count for the training metrics."""
    return bool(training.metrics) and training.stepper.is_measured_within(RECENT_BATCHES + count)
