"""Passes of the next batch that leave no trace: what an edit is found out by, and tried with; what is new looks on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nbopt.data.cursor import Cursor
from nbopt.data.sources import DatasetSource, StreamSource
from nbopt.data.tree import tensors
from nbopt.errors import InvalidHyperparam
from nbopt.training.evaluating import NO_GRAPH
from nbopt.training.snapshots.outside import unchanged

if TYPE_CHECKING:
    from nbopt.training.training import Training

_ROUNDING = {False: 1e-4, True: 3e-2}  # how far outputs may be apart, as a share of the largest; in mixed precision
_MOST_SAMPLES = 4096
Watching = AbstractContextManager[Any]


def evaluate(training: Training, watching: Watching | None = None) -> tuple[Any, Tensor]:
    """Return outputs and loss of the next batch, done as in validation."""
    try:
        with training.material.evaluating(), torch.set_grad_enabled(training.pass_.needs_graph):
            return _do(training, training.pass_.measure, training.evaluation_seed, watching)
    except RuntimeError as error:
        if training.pass_.needs_graph or NO_GRAPH not in str(error):
            raise
    training.pass_.needs_graph = True  # torch.autograd.grad in the user's forward or loss
    return evaluate(training, watching)


def watch_step(training: Training, watching: Watching) -> Any:
    """Do the next batch as in a step, within ``watching``; return its outputs."""
    with torch.set_grad_enabled(training.pass_.needs_graph):
        trained, _loss = _do(training, training.pass_.plain, training.step_seed + training.step, watching)
    return trained


def check_changes(training: Training, changes: Mapping[str, Any]) -> None:
    """Show techniques that ``changes`` let act what the model puts out for the next batch.

    Raises
    ------
    InvalidHyperparam
        If one of them cannot act on that; says why.
    """
    for part in training.acting.doubtful(changes):
        try:
            with torch.set_grad_enabled(training.pass_.needs_graph):
                _do(training, partial(training.pass_.show, part), training.step_seed + training.step, None)
        except ValueError as error:
            raise InvalidHyperparam(str(error)) from error


def watch_many(training: Training, watching: Watching) -> None:
    """Do training batches as in steps, the epoch's first ones up to 4,096 samples, within ``watching``."""
    with torch.set_grad_enabled(training.pass_.needs_graph):
        _within(training, training.step_seed + training.step, watching, lambda: _pass_all(training))


def _pass_all(training: Training) -> None:
    training.pass_.checked = True  # looking at what outputs mean takes a pass more
    for batch in first_batches(training.cursor, _MOST_SAMPLES):
        training.pass_.plain(batch)


def first_batches(cursor: Cursor, most: int) -> Iterator[Any]:
    """Yield the epoch's first batches, up to so many samples; of a stream or sampler, which go on, the next one."""
    following, source, size = cursor.peek(), cursor.source, cursor.usual_size
    of_loader = isinstance(source, DatasetSource)
    if isinstance(source, StreamSource) or source.size is None or (of_loader and source.sampler is not None):
        yield following
        return
    find = source.look if isinstance(source, DatasetSource) else source.batch
    for start in range(0, min(source.size, most), size):
        stop = min(start + size, source.size)
        if stop - start > 1 or not start:  # batch normalization cannot train on one sample
            yield find(start, stop)


def are_close(training: Training, one: Any, other: Any) -> bool:
    """Whether trees of tensors are the same but for rounding."""
    ours, others = list(tensors(one)), list(tensors(other))
    if [tensor.shape for tensor in ours] != [tensor.shape for tensor in others]:
        return False
    share = _ROUNDING[training.pass_.is_narrow]
    for a, b in zip(ours, others, strict=True):
        first, second = a.double(), b.double()
        largest = float(first.nan_to_num(0.0, 0.0, 0.0).abs().max()) if first.numel() else 0.0
        if not torch.allclose(first, second, rtol=0, atol=share * largest, equal_nan=True):
            return False
    return True


def _do(training: Training, how: Any, seed: int, watching: Watching | None) -> tuple[Any, Tensor]:
    batch = training.cursor.peek()

    def do() -> tuple[Any, Tensor]:
        output, _target, loss = how(batch)
        return output, loss.detach()

    done: tuple[Any, Tensor] = _within(training, seed, watching, do)
    return done


def _within(training: Training, seed: int, watching: Watching | None, do: Callable[[], Any]) -> Any:
    """Return what ``do()`` does, within ``watching``, and have it leave no trace."""
    put_back, checked = training.acting.keep(), training.pass_.checked
    try:
        with (
            unchanged(training),
            training.noise.lock,
            training.noise.seeded(seed),
            nullcontext() if watching is None else watching,
        ):
            return do()
    finally:
        put_back()
        training.pass_.calibration.done = None  # what they found out by a look is put back, too
        training.pass_.checked = checked
