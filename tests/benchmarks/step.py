"""What a step costs, in microseconds, against a hand-written loop: ``python tests/benchmarks/step.py``.

MLP 64-64-10, batch 64, 20,000 resident samples, the same torch optimizer, one thread; alternating, medians of 21
epochs. Microseconds are of the thread's own CPU time, which other work on the machine disturbs least.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import nn

import nbopt
from nbopt.training.state import Stepped

SAMPLES, BATCH = 20_000, 64
COMPILE_SECONDS = 150
OPTIMIZERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}


def data() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(SAMPLES, 64, generator=generator), torch.randint(10, (SAMPLES,), generator=generator)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def by_hand(name: str) -> Callable[[], float]:
    (x, y), model, criterion = data(), mlp(), nn.CrossEntropyLoss()
    optimizer = OPTIMIZERS[name](model.parameters(), lr=0.01)

    def epoch() -> float:
        start, steps, order = time.thread_time(), 0, torch.randperm(SAMPLES)
        for at in range(0, SAMPLES, BATCH):
            index = order[at : at + BATCH]
            optimizer.zero_grad()
            criterion(model(x[index]), y[index]).backward()
            optimizer.step()
            steps += 1
        return (time.thread_time() - start) / steps

    return epoch


def by_nbopt(name: str, tier: str) -> Callable[[], float]:
    run = nbopt.Run(mlp(), data(), optimizer=name, lr=0.01, batch_size=BATCH, epochs=10**9, store=None, tier=tier)
    events = run.events()
    assert run.training is not None
    run.training.meter.tick(running=True)

    def epoch() -> float:
        start, steps = time.thread_time(), 0
        for event in events:
            steps += event.steps if isinstance(event, Stepped) else 0
            if steps >= SAMPLES // BATCH:
                break
        return (time.thread_time() - start) / steps

    end = time.perf_counter() + (COMPILE_SECONDS if tier == "compiled" else 0)
    while not run.training.tiers.steps and time.perf_counter() < end:
        epoch()
    return epoch


def main() -> None:
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, Python {sys.version.split()[0]}; microseconds a step, ratios of speeds")
    print("optimizer  by hand    eager  compiled  ratio eager  ratio compiled")
    for name in OPTIMIZERS:
        loops = by_hand(name), by_nbopt(name, "eager"), by_nbopt(name, "compiled")
        rows = [tuple(loop() for loop in loops) for _round in range(22)][1:]
        hand, eager, compiled = (statistics.median(column) * 1e6 for column in zip(*rows, strict=True))
        gains = [statistics.median(row[0] / row[k] for row in rows) for k in (1, 2)]
        print(f"{name:9} {hand:8.0f} {eager:8.0f} {compiled:9.0f} {gains[0]:12.2f} {gains[1]:15.2f}")


if __name__ == "__main__":
    main()
