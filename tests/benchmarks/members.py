"""What a member of a population is to be like a single run in: ``python -m tests.benchmarks.members [--threads 1]``.

Its weights, after 200 eager steps; the first step after `start`; the time from a change of its value to the step that
uses it. Times are by the clock and, in parentheses, of the processor: other processes take no part in that.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import torch
from torch import nn

import nbopt
from tests.benchmarks.many import WORK

STEPS, CHANGES, STARTS, DRAWS = 200, 200, 5, 5
_RATES = {"sgd": [1e-3, 0.01, 0.05, 0.1], "adam": [1e-4, 1e-3, 3e-3, 0.01]}
_LOOK_SECONDS = 2e-4


def data(features: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return samples that can be learned."""
    torch.manual_seed(0)
    x = torch.randn(6_400, features)
    return x, (x @ torch.randn(features, 10)).argmax(1)


def difference(name: str, optimizer: str) -> str:
    """Return a row: how far the weights of four members are from those of the single runs.

    Beside it, how far single runs are whose weights were moved by their last bit at first: where an activation is
    close to 0, or two are close to each other, rounding decides what is learned.
    """
    make, features, _members = WORK[name]
    train, model = data(features), make()
    given: dict[str, Any] = {"optimizer": optimizer, "weight_decay": 1e-4, "batch_size": 64, "tier": "eager"}
    given |= {"device": "cpu", "epochs": 10}
    population = nbopt.Population(model, train, lr=_RATES[optimizer], **given)
    population.step(STEPS)
    assert population.tier == "all members at once"
    found, same, moved = [], 0, []
    for member, rate in zip(population, _RATES[optimizer], strict=True):
        run = nbopt.Run(deepcopy(model), train, lr=rate, store=None, **given)
        run.step(STEPS)
        found.append(apart(member.model, run.model))
        same += found[-1] == 0
        for _each in range(DRAWS):
            other = nbopt.Run(by_a_bit(model), train, lr=rate, store=None, **given)
            other.step(STEPS)
            moved.append(apart(other.model, run.model))
    told = f"{max(found):.1e}, {same} of 4 bitwise; by a last bit {max(moved):.1e}"
    return f"| {name}, {optimizer}: member against run, {STEPS} steps | {told} |"


@torch.no_grad()
def apart(model: nn.Module, other: nn.Module) -> float:
    """Return the largest relative difference of two models' weights."""
    pairs = zip(model.parameters(), other.parameters(), strict=True)
    return max(float((one - two).norm() / two.norm()) for one, two in pairs)


@torch.no_grad()
def by_a_bit(model: nn.Module) -> nn.Module:
    """Return a copy whose weights are a last bit larger or smaller."""
    made = deepcopy(model)
    for weight in made.parameters():
        weight.mul_(1 + torch.finfo(weight.dtype).eps * torch.randn_like(weight).sign())
    return made


def populate() -> nbopt.Population:
    """Return 128 members of the small MLP."""
    make, features, members = WORK["MLP 64-64-10"]
    rates, decays = nbopt.spread(1e-4, 1, members // 4), nbopt.spread(1e-6, 1e-2, 4)
    given: dict[str, Any] = {"optimizer": "sgd", "epochs": 10**6, "tier": "eager", "device": "cpu"}
    return nbopt.Population(make(), data(features), lr=rates, weight_decay=decays, combine=True, **given)


def timed(work: Callable[[], Any], until: Callable[[], bool]) -> tuple[float, float]:
    """Return the seconds from work to what it leads to, by the clock and of the processor."""
    clock, cpu = time.perf_counter(), time.process_time()
    work()
    while not until():
        time.sleep(_LOOK_SECONDS)
    return time.perf_counter() - clock, time.process_time() - cpu


def first_steps() -> str:
    """Return a row: the first step of 128 members after `start`."""
    found = []
    for _each in range(STARTS):
        population = populate()
        found.append(timed(population.start, lambda made=population: made[0].step_count > 0))
        population.stop()
    clock, cpu = (statistics.median(times) for times in zip(*found, strict=True))
    return f"| first step of 128 members after start, median of {STARTS} | {clock:.2f} s ({cpu:.2f}) |"


def changes() -> str:
    """Return a row: from a member's change to the step that uses it."""
    population = populate()
    population.step(50)
    population.start()
    found = []
    for number in range(CHANGES):
        member, rate = population[number % len(population)], 0.01 + number * 1e-5
        change = lambda: population.set(lr=rate, members=[member.number])  # noqa: B023, E731
        found.append(timed(change, lambda: member.training.optimizer.lr == rate))  # noqa: B023
        time.sleep(0.01)
    population.stop()
    cells = []
    for times in zip(*found, strict=True):
        ordered = sorted(1000 * taken for taken in times)
        cells.append((ordered[len(ordered) // 2], ordered[int(0.95 * len(ordered))]))
    (half, most), (cpu_half, cpu_most) = cells
    told = f"{half:.1f} ms ({cpu_half:.1f}), p95 **{most:.1f} ms ({cpu_most:.1f})**"
    return f"| a member's change to applied, {CHANGES} of 128 members' | {told} |"


def rows() -> Iterator[str]:
    """Yield the table, row by row."""
    yield "| of a population | measured |"
    yield "|---|---|"
    for name in WORK:
        for optimizer in _RATES:
            yield difference(name, optimizer)
    yield first_steps()
    yield changes()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    torch.set_num_threads(parser.parse_args().threads)
    for line in rows():
        print(line, flush=True)
