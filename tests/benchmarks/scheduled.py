"""What a schedule costs compiled steps, against a constant rate: ``python -m tests.benchmarks.scheduled``.

The small MLP, compiled, on both sides; the process's own CPU time, short stretches in turn, so that other work on the
machine disturbs both alike; the median of the ratios.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

import nbopt
from nbopt.training.state import Stepped
from tests.benchmarks.workloads import SMALL

ROUNDS, STEPS = 200, 626  # two epochs
_COMPILE_SECONDS = 150


def measure() -> tuple[float, float, float]:
    """Return seconds a step at a constant rate and along a cosine, and how many times as long the latter takes."""
    sides = _side("constant"), _side("cosine")
    rows = [tuple(side(STEPS) for side in sides) for _round in range(ROUNDS)][ROUNDS // 20 :]
    constant, cosine = map(statistics.median, zip(*rows, strict=True))
    return constant, cosine, statistics.median(moving / still for still, moving in rows)


def _side(schedule: str) -> Callable[[int], float]:
    settings = {"optimizer": "sgd", "lr": SMALL.lr, "batch_size": SMALL.batch, "tier": "compiled"}
    run = nbopt.Run(SMALL.model(), SMALL.data(), epochs=10**5, store=None, schedule=schedule, **settings)
    events = run.events()
    training = run.training
    training.meter.tick(running=True)

    def go(count: int) -> float:
        start, steps = time.process_time(), 0
        for event in events:
            steps += event.steps if isinstance(event, Stepped) else 0
            if steps >= count:
                break
        return (time.process_time() - start) / steps

    end = time.perf_counter() + _COMPILE_SECONDS
    while not training.tiers.steps:
        go(STEPS)
        if time.perf_counter() > end:
            raise RuntimeError(run.tier)
    return go


if __name__ == "__main__":
    torch.set_num_threads(1)
    still, moving, ratio = measure()
    print(f"constant {still * 1e6:.1f} µs a step, cosine {moving * 1e6:.1f} µs: {ratio:.3f} times as long")
