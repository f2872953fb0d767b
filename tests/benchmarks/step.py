"""What a step costs, in microseconds, against a hand-written loop: ``python tests/benchmarks/step.py``.

MLP 64-64-10, batch 64, 20,000 resident samples, the same torch optimizer; alternating, median of seven.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import nn

import nbopt
from nbopt.engine.state import Stepped

SAMPLES, BATCH = 20_000, 64
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
        start, steps, order = time.perf_counter(), 0, torch.randperm(SAMPLES)
        for at in range(0, SAMPLES, BATCH):
            index = order[at : at + BATCH]
            optimizer.zero_grad()
            criterion(model(x[index]), y[index]).backward()
            optimizer.step()
            steps += 1
        return (time.perf_counter() - start) / steps

    return epoch


def by_nbopt(name: str) -> Callable[[], float]:
    run = nbopt.Run(mlp(), data(), optimizer=name, lr=0.01, batch_size=BATCH, epochs=10**9)
    events = run.events()

    def epoch() -> float:
        start, steps = time.perf_counter(), 0
        for event in events:
            steps += isinstance(event, Stepped)
            if steps == -(-SAMPLES // BATCH):
                break
        return (time.perf_counter() - start) / steps

    return epoch


def main() -> None:
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, Python {sys.version.split()[0]}")
    print("optimizer  by hand    nbopt   ratio   (microseconds a step; ratio of speeds)")
    for name in OPTIMIZERS:
        hand, ours = by_hand(name), by_nbopt(name)
        hand(), ours()
        rows = [(hand(), ours()) for _round in range(7)]
        first, second = (statistics.median(column) * 1e6 for column in zip(*rows, strict=True))
        ratio = statistics.median(a / b for a, b in rows)
        print(f"{name:9} {first:8.0f} {second:8.0f} {ratio:7.2f}")


if __name__ == "__main__":
    main()
