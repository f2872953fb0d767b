"""What nbopt itself costs in an eager step: our step, less the calls of torch that it makes.

CPU time of the thread over whole epochs, so that all is in it that comes once in many steps: the order and the gather
of samples, the losses moved to the history, looks at what changed. The calls of torch by themselves take slices of
samples that lie in order. One epoch of each in turn, and the median of their differences: what other work on the
machine takes, both pay. It differs by 2 or 3 microseconds from one process to another with the same code, so that
comparing two versions takes several processes of each, in turn.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from itertools import islice

import torch
from torch import nn
from torch.autograd.graph import _engine_run_backward

import nbopt
from nbopt.training.state import Stepped
from tests.benchmarks.workloads import SMALL

ROUNDS = 120
STEPS = -(-SMALL.samples // SMALL.batch)  # of an epoch


def measure() -> float:
    """Return seconds a step."""
    settings = {"optimizer": "sgd", "lr": SMALL.lr, "batch_size": SMALL.batch, "tier": "eager"}
    run = nbopt.Run(SMALL.model(), SMALL.data(), epochs=10**9, store=None, **settings)
    ours, bare = _ours(run), _bare()
    ours(STEPS), bare(STEPS)
    return statistics.median(_time(ours) - _time(bare) for _round in range(ROUNDS))


def _time(side: Callable[[int], None]) -> float:
    start = time.thread_time()
    side(STEPS)
    return (time.thread_time() - start) / STEPS


def _ours(run: nbopt.Run) -> Callable[[int], None]:
    steps = (event for event in run.events() if isinstance(event, Stepped))

    def go(count: int) -> None:
        for _step in islice(steps, count):
            pass

    return go


def _bare() -> Callable[[int], None]:
    (x, y), model = SMALL.data(), SMALL.model()
    weights = list(model.parameters())
    one = torch.ones(())
    place = 0

    def go(count: int) -> None:
        nonlocal place
        losses = []
        for _step in range(count):
            inputs, target = x[place : place + SMALL.batch], y[place : place + SMALL.batch]
            place = (place + SMALL.batch) % (len(x) - SMALL.batch)
            for weight in weights:
                weight.grad = None
            loss = nn.functional.cross_entropy(model(inputs), target)
            _engine_run_backward((loss,), (one,), False, False, (), allow_unreachable=True, accumulate_grad=True)
            with torch.no_grad():
                torch._foreach_add_(weights, [weight.grad for weight in weights], alpha=-SMALL.lr)
            losses.append(loss.detach())

    return go
