"""One batch of a validation: its outputs, targets and loss; in parts, where memory runs out."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nbopt.data.samples import count_samples, cut, find_samples
from nbopt.data.tree import items_of, tensors, with_items
from nbopt.i18n import _
from nbopt.training.failure import is_out_of_memory

if TYPE_CHECKING:
    from nbopt.training.training import Training

NO_GRAPH = "does not require grad"  # what torch says of a gradient asked for where there is no graph
_ROUNDING = 1e-3  # how far outputs of a sample may be apart, as a share of the largest

Result = tuple[Any, Any, Tensor, Any]
"""Outputs, targets, loss and the batch itself."""


def evaluate_within_memory(training: Training, batch: Any, index: int) -> list[Result]:
    """Return what a batch gives; of a loss whose parts are known to make up the whole, part by part.

    Raises
    ------
    ValueError
        If memory runs out, and the samples of a batch are not independent of each other.
    """
    parts = _parts(training, batch)
    if len(parts) > 1:
        results = [result for part in parts for result in evaluate_within_memory(training, part, index)]
        if not training.parts_compared:
            training.parts_compared = True
            _compare(training, results[0], index)
        return results if training.loss.traits.reduction else [_joined(training, results, batch)]
    try:
        return [(*_evaluate(training, batch, index), batch)]
    except Exception as error:
        leaf = find_samples(batch) if is_out_of_memory(error) else None
        if leaf is None or (count := count_samples(batch, leaf)) < 2:
            raise
        training.most_evaluated = count // 2
        text = _("memory ran out in validation, which does {size} samples at once from here on", size=count // 2)
        training.pass_.tell(f"{text}: {error}")
    return evaluate_within_memory(training, batch, index)


def _parts(training: Training, batch: Any) -> list[Any]:
    """Return a batch in parts that are known to fit into memory."""
    size = training.most_evaluated
    leaf = find_samples(batch) if size else None
    if leaf is None or (count := count_samples(batch, leaf)) <= size:
        return [batch]
    return [cut(batch, count, start, min(start + size, count)) for start in range(0, count, size)]


def _evaluate(training: Training, batch: Any, index: int) -> tuple[Any, Any, Tensor]:
    training.pass_.step = training.step
    silent = training.pass_.is_silent  # dropout draws nothing here
    noise = nullcontext() if silent else training.noise.seeded(training.evaluation_seed + index)
    try:
        with (
            training.material.evaluating(),
            torch.set_grad_enabled(training.pass_.needs_graph),
            training.noise.lock,
            noise,
        ):
            output, target, loss = training.pass_.measure(batch)
        return output, target, loss.detach()
    except RuntimeError as error:
        if training.pass_.needs_graph or NO_GRAPH not in str(error):
            raise
    training.pass_.needs_graph = True  # torch.autograd.grad in the user's forward or loss
    return _evaluate(training, batch, index)


def _compare(training: Training, result: Result, index: int) -> None:
    """Look, once, whether a sample's output is the same without the others, unless the model draws noise."""
    output, _target, _loss, part = result
    leaf = find_samples(part)
    count = 0 if leaf is None else count_samples(part, leaf)
    if count < 2 or not _are_alike(output, _evaluate(training, part, index + 1)[0], count):
        return
    half = count // 2
    if not _are_alike(output, _evaluate(training, cut(part, count, 0, half), index)[0], half):
        raise _refusal()


def _are_alike(one: Any, other: Any, count: int) -> bool:
    """Whether the outputs of the first ``count`` samples are the same but for rounding."""
    ours, others = list(tensors(one)), list(tensors(other))
    if [a.shape[1:] for a in ours] != [b.shape[1:] for b in others] or not all(a.ndim for a in ours):
        return False
    for a, b in zip(ours, others, strict=True):
        share = len(b) // count  # rows that a sample has, as of a sequence
        first, second = a[: share * count].double(), b.double()
        largest = float(first.nan_to_num().abs().max()) if first.numel() else 0.0
        if not torch.allclose(first, second, rtol=0, atol=_ROUNDING * largest, equal_nan=True):
            return False
    return True


def _joined(training: Training, results: Sequence[Result], batch: Any) -> Result:
    """Return the parts of a batch as the whole, for a loss that may compare samples or sum over them."""
    output, target = (_join([result[k] for result in results]) for k in (0, 1))
    with training.material.evaluating(), torch.no_grad(), training.noise.lock, training.noise.seeded(0):
        loss = training.pass_.measure_output(output, target)
    return output, target, loss.detach(), batch


def _join(parts: Sequence[Any]) -> Any:
    first = parts[0]
    if isinstance(first, Tensor):
        if not first.ndim:
            raise _refusal()
        return torch.cat([part.detach() for part in parts])
    rows = [dict(items_of(part)) for part in parts]
    return with_items(first, {key: _join([row[key] for row in rows]) for key in rows[0]}) if rows[0] else first


def _refusal() -> ValueError:
    rule = _("memory ran out, and a batch cannot be done in parts, whose samples are not independent of each other")
    return ValueError(_("val: {rule}: give it as a DataLoader of smaller batches.", rule=rule))
