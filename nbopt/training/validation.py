"""Validation: loss and metrics on data that are not trained on."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import ref

import torch
from torch import Tensor

from nbopt.data.cursor import Cursor
from nbopt.data.places import item_at
from nbopt.data.sources import AnySource, StreamSource, evaluation_size, sample_count
from nbopt.data.tree import to_device
from nbopt.i18n import _
from nbopt.techniques.losses.base import Loss
from nbopt.techniques.losses.traits import Traits, count_targets
from nbopt.training.evaluating import Result, evaluate_within_memory
from nbopt.training.snapshots.checkpoint import copy_state

if TYPE_CHECKING:
    from nbopt.training.training import Training


def validate(training: Training) -> Iterator[None]:
    """Measure loss and metrics on the validation data, yielding after each part of it."""
    training.flush()
    measured = _measure_recent(training)
    if training.val is not None:
        measured.update((yield from measure(training)))
    # All of a validation or, where it raised, nothing: it is then done again.
    training.half_done = True
    training.context.is_after = True
    try:
        for note in training.acting.after_epoch:
            note(measured.get("val_loss"))
    finally:
        training.context.is_after = False
    training.context.hand_over(training.history.append)
    training.recent.clear()
    training.history.append("_epoch", training.step, training.cursor.progress)
    for name, value in measured.items():
        training.history.append(name, training.step, value)
    if training.val is not None and training.judge.judge(training.loss.judged(measured), training.step):
        training.best_weights = copy_state(training.model)
        training.validation_due = False
        training.securing.take_best()
    training.validation_due = training.half_done = False


def measure(training: Training) -> Generator[None, None, dict[str, float]]:
    """Return loss and metrics of the weights as they are, yielding after each part of the validation data."""
    assert training.val is not None
    mean, metrics = LossMeans(training.loss), training.measuring.start("val_")
    for index, cut in enumerate(cuts(training.val, training.evaluation_seed)):
        for output, target, loss, part in _evaluate(training, cut, index):
            mean.add(loss, target, part)
            metrics.add(output, target)
        yield
    return {**mean.values(training.cursor), **metrics.values(training.pass_.tell)}


def _evaluate(training: Training, cut: Callable[[], Any], index: int) -> list[Result]:
    found: list[Result] | None = training.evaluate_together(cut, index) if training.evaluate_together else None
    return evaluate_within_memory(training, cut(), index) if found is None else found


class ValidationLoss:
    """The loss of all validation batches, on the scale of the loss in training.

    A mean is that over all that counts in all batches, see `nbopt.techniques.losses.traits.count_targets`. A sum is
    that of as many samples as a training batch has.

    Parameters
    ----------
    traits : Traits
        What is known of the loss.
    """

    def __init__(self, traits: Traits) -> None:
        self._traits = traits
        self._losses: list[Tensor] = []
        self._counts: list[Tensor | float] = []

    def add(self, loss: Tensor, target: Any, batch: Any) -> None:
        """Take in the loss of a batch, a scalar."""
        count = None if self._traits.reduction == "sum" else _count(self._traits, target)
        self._losses.append(loss)
        self._counts.append(float(sample_count(batch)) if count is None else count)

    def value(self, cursor: Cursor) -> float:
        """Return the loss; NaN where nothing counts.

        Raises
        ------
        ValueError
            If there was no batch.
        """
        if not self._losses:
            raise ValueError(_("val yielded no batch."))
        one = len(self._losses) == 1  # half the time of making one tensor of them
        losses: list[float] = [self._losses[0].item()] if one else torch.stack(self._losses).tolist()
        counts = [float(count) for count in self._counts]
        if not sum(counts):
            return math.nan
        if self._traits.reduction == "sum":
            return sum(losses) / sum(counts) * cursor.usual_size
        return sum(loss * count for loss, count in zip(losses, counts, strict=True) if count) / sum(counts)


class LossMeans:
    """The loss of all validation batches, and where it is made of several, each of them.

    Parameters
    ----------
    loss : Loss
    """

    def __init__(self, loss: Loss) -> None:
        self._loss = loss
        self._means = [(place, ValidationLoss(part.traits)) for place, part in loss.parts.items()]

    def add(self, loss: Tensor, target: Any, batch: Any) -> None:
        """Take in what `Loss.measure` returned of a batch."""
        for (place, mean), value in zip(self._means, loss.reshape(-1) if loss.ndim else [loss], strict=True):
            mean.add(value, item_at(target, place), batch)

    def values(self, cursor: Cursor) -> dict[str, float]:
        """Return them by name; see `ValidationLoss.value`."""
        found = [mean.value(cursor) for _place, mean in self._means]
        if not self._loss.measures:
            return {"val_loss": found[0]}
        own = {f"val_{name}": value for name, value in zip(self._loss.measures, found, strict=True)}
        return {"val_loss": self._loss.total(found), **own}


def _measure_recent(training: Training) -> dict[str, float]:
    """Return the metrics of the last training batches."""
    if not training.recent:
        return {}
    metrics = training.measuring.start("")
    for output, target in training.recent:
        metrics.add(to_device(output, training.device), to_device(target, training.device))
    return metrics.values(training.pass_.tell)


def walk(source: AnySource, seed: int) -> Iterator[Any]:
    """Yield all samples of a source in batches: its own, or as large as is fast."""
    for cut in cuts(source, seed):
        yield cut()


def cuts(source: AnySource, seed: int) -> Iterator[Callable[[], Any]]:
    """Yield for each batch what returns it: who has found what it gives with another run's needs none."""
    if isinstance(source, StreamSource):
        for batch in source.batches(seed):
            yield partial(_same, batch)
        return
    assert source.size is not None
    source.begin(seed)
    start, size = 0, evaluation_size(source)
    while source.reaches(start + (size if source.drop_last else 1)):
        yield _once(partial(source.batch, start, start + size))
        start += size


def _same(batch: Any) -> Any:
    return batch


def _once(make: Callable[[], Any]) -> Callable[[], Any]:
    """Return what calls a function the first time, and returns the same from then on."""
    made: list[Any] = []

    def get() -> Any:
        if not made:
            made.append(make())
        return made[0]

    return get


def _count(traits: Traits, target: Any) -> Tensor | float | None:
    """Return what a batch weighs; where runs are evaluated with the same one after the other, it is counted once."""
    global _counted
    if not isinstance(target, Tensor) or target.is_inference():  # which tells nobody when it is written to
        return count_targets(traits, target)
    known, version, of, count = _counted
    if known() is not target or version != target._version or of is not traits:
        count = count_targets(traits, target)
        _counted = ref(target), target._version, traits, count
    return count


_counted: tuple[Callable[[], Tensor | None], int, Traits | None, Tensor | float | None] = (lambda: None), 0, None, None
