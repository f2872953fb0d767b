"""What nbopt itself costs in an eager step: our step, less the calls of torch that it makes.

CPU time of the thread, short stretches in turn, the least of each: other work on the machine can only add. What comes
once in many steps is not in the least stretch: moving losses to the history is timed by itself and added, an epoch's
gather is left out on both sides (the hand-written loop pays more for its index in every step).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import islice

import torch
from torch import nn
from torch.autograd.graph import _engine_run_backward

import nbopt
from nbopt.training.state import Stepped
from tests.benchmarks.workloads import SMALL

ROUNDS = 600
WARM, STEPS = 150, 50  # of a stretch: caches are cold after the other side's; then timed
FLUSHED = 400  # steps between two moves of the losses to the history, about as many as in the run


def measure() -> float:
    """Return seconds a step."""
    settings = {"optimizer": "sgd", "lr": SMALL.lr, "batch_size": SMALL.batch, "tier": "eager"}
    run = nbopt.Run(SMALL.model(), SMALL.data(), epochs=10**9, store=None, **settings)
    sides = _ours(run), _bare()
    ours, bare = zip(*([_time(side) for side in sides] for _round in range(ROUNDS)), strict=True)
    return min(ours) - min(bare) + min(_flush(run) for _round in range(20))


def _time(side: Callable[[int], None]) -> float:
    side(WARM)
    start = time.thread_time()
    side(STEPS)
    return (time.thread_time() - start) / STEPS


def _ours(run: nbopt.Run) -> Callable[[int], None]:
    steps = (event for event in run.events() if isinstance(event, Stepped))

    def go(count: int) -> None:
        for _step in islice(steps, count):
            pass

    return go


def _flush(run: nbopt.Run) -> float:
    training = run.training
    losses = [torch.rand(()) for _step in range(FLUSHED)]
    training.flush()
    for loss in losses:
        training.meter.take(loss)
    training.step += FLUSHED
    start = time.thread_time()
    training.flush()
    return (time.thread_time() - start) / FLUSHED


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
