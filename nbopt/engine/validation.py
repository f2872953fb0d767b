"""Validation: loss and metrics on data that are not trained on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nbopt.data.sources import AnySource, StreamSource, sample_count
from nbopt.data.tensor_source import TensorSource
from nbopt.engine.capture import capture
from nbopt.words import _

if TYPE_CHECKING:
    from nbopt.engine.training import Training

_EVALUATION_BYTES = 2**24  # samples that are evaluated in one go


def validate(training: Training) -> Iterator[None]:
    """Measure loss and metrics on the validation data, yielding after each part of it."""
    training.flush()
    measured = _measure(training, "", list(training.recent))
    if training.val is not None:
        losses: list[Tensor] = []
        counts: list[int] = []
        results: list[tuple[Any, Any]] = []
        for index, batch in enumerate(_walk(training.val, training.evaluation_seed)):
            output, target, loss = _evaluate(training, batch, index)
            losses.append(loss)
            counts.append(sample_count(batch))
            if training.metrics:
                results.append((output, target))
            yield
        if not losses:
            raise ValueError(_("val yielded no batch."))
        pairs = zip(torch.stack(losses).tolist(), counts, strict=True)
        measured["val_loss"] = sum(loss * count for loss, count in pairs) / sum(counts)
        measured.update(_measure(training, "val_", results))
    # All of a validation or, where it raised, nothing: it is then done again.
    for note in training.acting.after_epoch:
        note(measured.get("val_loss"))
    training.recent.clear()
    training.history.append("_epoch", training.step, float(training.cursor.epoch))
    for name, value in measured.items():
        training.history.append(name, training.step, value)
    if training.val is not None and training.stopping.observe(measured["val_loss"], training.step):
        state = training.model.state_dict()
        training.best_weights = {name: tensor.detach().to("cpu", copy=True) for name, tensor in state.items()}
        training.validation_due = False
        training.snapshots.add(capture(training), best=True)
    training.validation_due = False


def _evaluate(training: Training, batch: Any, index: int) -> tuple[Any, Any, Tensor]:
    model, training.pass_.step = training.model, training.step
    mode = model.training
    model.eval()
    try:
        silent = training.pass_.is_silent  # dropout draws nothing here
        noise = nullcontext() if silent else training.noise.seeded(training.evaluation_seed + index)
        with torch.no_grad(), noise:
            return training.pass_.measure(batch)
    finally:
        model.train(mode)


def _measure(training: Training, prefix: str, results: list[tuple[Tensor, Any]]) -> dict[str, float]:
    if not results or not training.metrics:
        return {}
    with torch.no_grad():
        output = torch.cat([output.to(training.device) for output, _target in results])
        target = torch.cat([target.to(training.device) for _output, target in results])
        return {prefix + name: float(metric(output, target)) for name, metric in training.metrics.items()}


def _walk(source: AnySource, seed: int) -> Iterator[Any]:
    if isinstance(source, StreamSource):
        yield from source.batches(seed)
        return
    assert source.size is not None
    if source.sampled:
        source.begin(seed)
    if isinstance(source, TensorSource):
        size = max(64, min(4096, _EVALUATION_BYTES * source.size // max(1, source.nbytes())))
    else:
        size = source.batch_size or 64
    for start in range(0, source.size, size):
        yield source.batch(start, min(start + size, source.size))
