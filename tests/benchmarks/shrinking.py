"""A CNN on digits, half of its channels shrunk away and trained on: accuracy, and latency as it is measured.

``python -m tests.benchmarks.shrinking`` takes two minutes. The dense network trains on for as long as the small one.
"""

from __future__ import annotations

import statistics
import sys
import time

import torch
from sklearn.datasets import load_digits
from torch import nn

import nbopt

EPOCHS, MORE, ROUNDS = 12, 8, 60


def make() -> nn.Module:
    """Return a network of 32 and 64 channels."""
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(64, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(256, 10)),
    )


def latencies(models: list[nn.Module], x: torch.Tensor) -> list[float]:
    """Return the median CPU seconds of a pass of each model, taken in turn."""
    seconds: list[list[float]] = [[] for _model in models]
    with torch.inference_mode():
        for _round in range(ROUNDS):
            for model, own in zip(models, seconds, strict=True):
                began = time.process_time()
                model(x)
                own.append(time.process_time() - began)
    return [statistics.median(own) for own in seconds]


def main(seeds: int) -> None:
    """Print a line for each seed, and the means."""
    torch.set_num_threads(1)
    digits = load_digits()
    x, y = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16, torch.tensor(digits.target)
    rows = []
    for seed in range(seeds):
        torch.manual_seed(seed)
        given = {"val": 0.25, "metrics": ["accuracy"], "batch_size": 64, "lr": 2e-3, "seed": seed, "store": None}
        run = nbopt.Run(make(), (x, y), epochs=EPOCHS, **given)
        run.fit()
        small = run.change(nbopt.edits.Shrink(amount=0.5), epochs=EPOCHS + MORE)
        dense = run.branch(at=run.step_count, epochs=EPOCHS + MORE)
        for each in (small, dense):
            each.start()
            each.wait()
        entry = next(entry.new for entry in small.journal if entry.name == "edit")
        slow, fast = latencies([dense.model.eval(), small.model.eval()], x[:64])
        accuracy = [100 * each.history.last("val_accuracy") for each in (dense, small)]
        rows.append((slow / fast, *accuracy, slow, fast))
        print(
            f"seed {seed}: {slow * 1e3:.2f} → {fast * 1e3:.2f} ms a batch of 64, {slow / fast:.2f} times; accuracy "
            f"{accuracy[0]:.2f} → {accuracy[1]:.2f} %; parameters {entry['parameters']}, MACs {entry['macs']}",
            flush=True,
        )
    means = [statistics.mean(column) for column in zip(*rows, strict=True)]
    print(f"mean: {means[0]:.2f} times; {means[1]:.2f} → {means[2]:.2f} %, {means[2] - means[1]:+.2f} points")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
