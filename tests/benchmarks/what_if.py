"""What-if strips: their share of the training's time, how long a click takes, and whether they keep their promise.

``python -m tests.benchmarks.what_if [MOMENTS]`` prints a line for each. Times are those of the threads themselves, so
that whatever else the machine does changes little.
"""

from __future__ import annotations

import sys
import threading
import time

import numpy as np
import torch
from scipy.stats import spearmanr
from sklearn.datasets import load_digits
from torch import nn

import nbopt
from nbopt.run.population.what_ifs import WhatIfs
from nbopt.training.state import Validated

RATES = [1e-6, 5e-6, 3e-5, 1.5e-4, 1e-3, 6e-3, 4e-2, 0.2, 1.0]
_SECONDS = 40.0


def make() -> nbopt.Run:
    """Return the quickstart's run, without its speed limit."""
    x, y = load_digits(return_X_y=True)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10))
    return nbopt.Run(model, (x / 16, y), val=0.2, metrics=["accuracy"], epochs=10**6, tier="eager", store=None)


class Timed(WhatIfs):
    """Notes how much of the thread that trains it took."""

    spent = 0.0

    def _slice(self, slices: object) -> tuple[float, object]:  # type: ignore[override]
        start = time.thread_time()
        try:
            return super()._slice(slices)  # type: ignore[arg-type]
        finally:
            self.spent += time.thread_time() - start


def measure_share(seconds: float) -> tuple[float, float, float]:
    """Return the part of a training's time that strips of nine rates take, the seconds between two, and of each."""
    run, found = make(), 0

    def count() -> None:
        nonlocal found
        found += strips.at_work is None

    strips = Timed(run, count, ranges=lambda _key: [RATES])
    run.start()
    strips.ask([("lr",)])
    while found < 2:  # what members are made of is kept from then on
        time.sleep(0.05)
    begun, first, spent, since = run.worker.between_steps(time.thread_time), found, strips.spent, time.monotonic()
    time.sleep(seconds)
    total = run.worker.between_steps(time.thread_time) - begun
    taken, times = strips.spent - spent, max(1, found - first)
    told = taken / total, (time.monotonic() - since) / times, taken / times
    strips.close(10)
    run.stop()
    return told


def measure_click() -> float:
    """Return the seconds of CPU from a click while the run is paused to what the panel draws."""
    run = make()
    run.step(150)
    return float(np.median([_click(run) for _time in range(5)]))


def _click(run: nbopt.Run) -> float:
    done = threading.Event()
    strips = WhatIfs(run, lambda: strips.found and done.set(), ranges=lambda _key: [RATES])
    start = time.process_time()
    strips.ask([("lr",)])
    done.wait()
    took = time.process_time() - start
    strips.close(10)
    return took


def measure_promise(moments: int) -> list[tuple[float, float]]:
    """Return Spearman's correlation of predicted and trained order at some moments: as far ahead, and five times."""
    run, noise, found = make(), np.random.default_rng(0), []
    strips = WhatIfs(run)
    for _moment in range(moments):
        run.set(lr=float(10 ** noise.uniform(-4, -1.5)))
        run.step(int(noise.integers(5, 40)))
        steps = strips.steps_ahead
        told = run.what_if("lr", RATES, steps, draws=2)
        found.append(tuple(_rank(told.mean, trained) for trained in _train(run, steps)))
    return found


def _train(run: nbopt.Run, steps: int) -> list[list[float]]:
    """Return the validation losses of branches with each rate, after so many steps and after five times as many."""
    losses: list[list[float]] = [[], []]
    for lr in RATES:
        branch = run.branch(at=run.step_count, lr=lr)
        for row, count in enumerate((steps, 4 * steps)):
            branch.step(count)
            branch.training.validation_due = True
            next(event for event in branch.events() if isinstance(event, Validated))
            loss = branch.history.last("val_loss")
            losses[row].append(float("inf") if loss is None or not np.isfinite(loss) else loss)
    return losses


def _rank(predicted: np.ndarray, trained: list[float]) -> float:
    predicted = np.where(np.isfinite(predicted), predicted, 1e30)
    return float(spearmanr(predicted, np.minimum(trained, 1e30)).statistic)


def main(moments: int = 50, seconds: float = _SECONDS) -> None:
    """Print what was measured."""
    torch.set_num_threads(1)
    print(f"paused, click to what is drawn: {measure_click():.2f} s of CPU")
    share, period, each = measure_share(seconds)
    print(f"while training: {100 * share:.1f} % of the thread's time, anew every {period:.1f} s, {each:.2f} s each")
    near, far = zip(*measure_promise(moments), strict=True)
    told = [f"{np.mean(each):.3f} (least {min(each):.2f})" for each in (near, far)]
    print(f"Spearman over {moments} moments: as far ahead {told[0]}, five times as far {told[1]}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
