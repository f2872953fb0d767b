"""Outputs of a run's model on any data, and a rest for looking at it, neither of which leaves a trace."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nbopt.data.sources import DatasetSource, StreamSource, as_source
from nbopt.data.tensor_source import TensorSource
from nbopt.data.tree import items_of, tree_map, with_items
from nbopt.i18n import _
from nbopt.run.trained import TrainedSession
from nbopt.training.device import fits
from nbopt.training.evaluating import NO_GRAPH
from nbopt.training.snapshots.outside import unchanged
from nbopt.training.state import RunState
from nbopt.training.types import adapt
from nbopt.training.validation import walk


def predict(run: TrainedSession, data: Any) -> Any:
    """See `Run.predict`."""
    training = run.training
    floats = next((w.dtype for w in training.material.parameters.values() if w.is_floating_point()), torch.float32)
    source = as_source(data, "val", floats)
    if run.spec.forward is None:
        adapt(source, run.model, run.spec.loss)
    if not isinstance(source, StreamSource):
        source.shuffle = source.drop_last = False
    if isinstance(source, TensorSource) and not fits(source.nbytes(), training.device):
        source.stay(training.device)
    else:
        source.to(training.device)

    def outputs() -> list[Any]:
        noise, pass_ = training.noise, training.pass_
        evaluating, seeded = training.material.evaluating(), noise.seeded(training.evaluation_seed)
        try:
            with unchanged(training), evaluating, torch.set_grad_enabled(pass_.needs_graph), noise.lock, seeded:
                return [_on_cpu(pass_.predict(batch)) for batch in walk(source, 0)]
        except RuntimeError as error:
            if pass_.needs_graph or NO_GRAPH not in str(error):
                raise
        pass_.needs_graph = True  # torch.autograd.grad in the user's model or forward
        return outputs()

    try:
        return _join(run.worker.between_steps(outputs))
    finally:
        if isinstance(source, DatasetSource) and source.workers is not None:
            source.workers.stop()


@contextmanager
def at_rest(run: TrainedSession) -> Iterator[None]:
    """See `Run.at_rest`."""
    worker = run.worker
    if worker.is_own_thread:
        raise RuntimeError(_("a run cannot come to rest in the middle of its own step."))
    running, credit = run.state is RunState.RUNNING, 0.0
    if running:
        run.pause()
        credit = worker.credit
        running = run.state is RunState.PAUSED  # not over meanwhile
    still = run.material.find_modes()
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()
    on_gpu = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None  # type: ignore[no-untyped-call]
    try:
        with unchanged(run.training, buffers=False) if run.has_begun else nullcontext():
            yield
    finally:
        torch.set_rng_state(states[0])
        random.setstate(states[1])
        np.random.set_state(states[2])
        if on_gpu is not None:
            torch.cuda.set_rng_state_all(on_gpu)
        run.material.set_modes(still)
        if running and run.state is RunState.PAUSED:
            worker.go(credit, "code")


def _on_cpu(output: Any) -> Any:
    return tree_map(lambda tensor: tensor.detach().cpu(), output)


def _join(parts: Sequence[Any]) -> Any:
    """Join the outputs of all batches: tensors along their first axis, what holds tensors item by item."""
    first = parts[0]
    if isinstance(first, Tensor):
        alike = first.ndim and all(isinstance(p, Tensor) and p.shape[1:] == first.shape[1:] for p in parts)
        return torch.cat(list(parts)) if alike else list(parts)
    if items := items_of(first):
        rows = [dict(items_of(part)) for part in parts]
        if all(row.keys() == rows[0].keys() for row in rows):
            return with_items(first, {key: _join([row[key] for row in rows]) for key, _item in items})
    return list(parts)
