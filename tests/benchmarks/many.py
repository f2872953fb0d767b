"""Populations against hand-written loops one after another: ``python -m tests.benchmarks.many [--threads 1]``.

A round is some steps of a hand-written loop, then of the population, or the other way round: what else the
machine does hits both. The ratio is that of a step by hand to a step of one member. A round is long enough that the
pause at its end, in which the states of all members are kept, counts for little, as it does in a training.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import nn
from torch.nn import functional

import nbopt

ROUNDS = 7
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
_LONGEST = 180.0  # seconds that a compiler may take


def small() -> nn.Module:
    """Return the MLP 64-64-10."""
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def wide() -> nn.Module:
    """Return the MLP 784-256-10."""
    return nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))


def convolutional() -> nn.Module:
    """Return a small CNN for images of 8 x 8."""
    return nn.Sequential(
        *(nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 10)),
    )


WORK: dict[str, tuple[Callable[[], nn.Module], int, int]] = {
    "MLP 64-64-10": (small, 64, 128),
    "MLP 784-256-10": (wide, 784, 32),
    "CNN 8 x 8": (convolutional, 64, 16),
}


def by_hand(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> Callable[[int], None]:
    """Return what does steps as anyone would write them."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=1e-4)
    order = torch.randperm(len(x))
    place = 0

    def step(count: int) -> None:
        nonlocal place
        for _each in range(count):
            if place + 64 > len(x):
                place = 0
            rows = order[place : place + 64]
            optimizer.zero_grad()
            functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
            place += 64

    return step


def populate(
    make: Callable[[], nn.Module], x: torch.Tensor, y: torch.Tensor, members: int, tier: str, device: str = "cpu"
) -> nbopt.Population:
    """Return a population of learning rates and weight decays that is warmed up."""
    rates = nbopt.spread(1e-4, 1, members // 4)
    decays = nbopt.spread(1e-6, 1e-2, 4)
    given = {"optimizer": "sgd", "weight_decay": decays, "epochs": 10**6, "tier": tier, "device": device}
    population = nbopt.Population(make(), (x, y), lr=rates, combine=True, **given)
    population.step(3)
    end = time.perf_counter() + _LONGEST
    while tier == "compiled" and not population.tier.endswith("compiled") and time.perf_counter() < end:
        population.step(2)
        time.sleep(0.1)
    return population


def measure(name: str, tier: str, steps: int = 0, members: int = 0, device: str = "cpu") -> str:
    """Return a row of the table, of so many members or the usual number."""
    make, features, usual = WORK[name]
    members = members or usual
    steps = steps or (300 if tier == "compiled" and name == "MLP 64-64-10" else 60)
    x, y = torch.randn(20_000, features), torch.randint(0, 10, (20_000,))
    population = populate(make, x, y, members, tier, device)
    hand = by_hand(make().to(device), x.to(device), y.to(device))
    hand(20)
    finish = torch.cuda.synchronize if device == "cuda" else lambda: None
    both: list[Callable[[int], None]] = [hand, population.step]
    ratios: dict[str, list[float]] = {clock: [] for clock in CLOCKS}
    for number in range(ROUNDS):
        taken: dict[int, dict[str, float]] = {}
        for which in (0, 1) if number % 2 else (1, 0):
            finish()
            before = {clock: read() for clock, read in CLOCKS.items()}
            both[which](steps * 4 if which == 0 else steps)
            finish()
            done = steps * 4 if which == 0 else steps * members
            taken[which] = {clock: (read() - before[clock]) / done for clock, read in CLOCKS.items()}
        for clock, found in ratios.items():
            found.append(taken[0][clock] / taken[1][clock])
    cells = [f"**{statistics.median(found):.1f}** ({min(found):.1f} to {max(found):.1f})" for found in ratios.values()]
    return f"| {members} x {name} | {population.tier} | {' | '.join(cells)} |"


HEAD = (
    "| population | steps | " + " | ".join(f"{clock} time, against loops one after another" for clock in CLOCKS) + " |",
    "|---|---|---|---|",
)


def rows(names: Iterable[str] = WORK, tiers: tuple[str, ...] = ("eager", "compiled")) -> Iterator[str]:
    """Yield the table, row by row."""
    yield from HEAD
    for name in names:
        for tier in tiers:
            yield measure(name, tier)


def on_gpu() -> Iterator[str]:
    """Yield the table of what a GPU is for, row by row."""
    yield from HEAD
    yield measure("MLP 64-64-10", "eager", members=1024, device="cuda")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only", default="", help="part of the model's name")
    parser.add_argument("--tiers", nargs="+", default=["eager", "compiled"])
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    for line in rows([name for name in WORK if given.only in name], tuple(given.tiers)):
        print(line, flush=True)
