"""What nbopt itself costs in an eager step: our step, less the calls of torch that it makes.

CPU time of the thread, epochs in turn, the least of each: other work on the machine can only add.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import nn
from torch.autograd.graph import _engine_run_backward

import nbopt
from nbopt.engine.state import Stepped
from tests.benchmarks.workloads import SMALL

ROUNDS = 21
FLUSHED = 200  # steps between two moves of the losses to the history, about as many as in the run


def measure() -> float:
    """Return seconds a step."""
    loops = _ours(), _bare()
    ours, bare = zip(*([loop() for loop in loops] for _round in range(ROUNDS)), strict=True)
    return min(ours) - min(bare)


def _ours() -> Callable[[], float]:
    settings = {"optimizer": "sgd", "lr": SMALL.lr, "batch_size": SMALL.batch, "tier": "eager"}
    run = nbopt.Run(SMALL.model(), SMALL.data(), epochs=10**9, store=None, **settings)
    events = run.events()

    def epoch() -> float:
        steps, start = 0, time.thread_time()
        for event in events:
            steps += isinstance(event, Stepped)
            if steps == -(-SMALL.samples // SMALL.batch):
                break
        return (time.thread_time() - start) / steps

    return epoch


def _bare() -> Callable[[], float]:
    (x, y), model = SMALL.data(), SMALL.model()
    weights = list(model.parameters())
    one = torch.ones(())

    def epoch() -> float:
        steps, losses, start = 0, [], time.thread_time()
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
        xs, ys = x.index_select(0, order), y.index_select(0, order)
        for at in range(0, len(x), SMALL.batch):
            inputs, target = xs[at : at + SMALL.batch], ys[at : at + SMALL.batch]
            for weight in weights:
                weight.grad = None
            loss = nn.functional.cross_entropy(model(inputs), target)
            _engine_run_backward((loss,), (one,), False, False, (), allow_unreachable=True, accumulate_grad=True)
            with torch.no_grad():
                torch._foreach_add_(weights, [weight.grad for weight in weights], alpha=-SMALL.lr)
            losses.append(loss.detach())
            steps += 1
            if steps % FLUSHED == 0:
                torch.stack(losses).tolist()
                losses.clear()
        return (time.thread_time() - start) / steps

    return epoch
