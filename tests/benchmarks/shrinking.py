"""A CNN, half of its channels shrunk away and trained on: accuracy, and latency as it is measured.

``python -m tests.benchmarks.shrinking [--data digits] [--seeds 5]`` takes a minute of CPU, of Fashion-MNIST three. The
dense network trains on for as long as the small one. Accuracy is that on images for tests, by which nothing is chosen.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from torch import nn

import nbopt
from tests.benchmarks import images

EPOCHS = {"digits": (12, 8), "fashion": (4, 8)}  # before, and after
ROUNDS = 60


def make(size: int) -> nn.Module:
    """Return a network of 32 and 64 channels; of large images, its first convolution takes every third place."""
    first = nn.Conv2d(1, 32, 3, padding=1) if size == 8 else nn.Conv2d(1, 32, 5, stride=3, padding=1)
    return nn.Sequential(
        *(first, nn.BatchNorm2d(32), nn.ReLU()),
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


def main() -> None:
    """Print a line for each seed, and the means."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", choices=images.NAMES, default="digits")
    parser.add_argument("--seeds", type=int, default=5)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    data = images.load(asked.data)
    (x, y), (epochs, more), rows = data.test, EPOCHS[asked.data], []
    for seed in range(asked.seeds):
        torch.manual_seed(seed)
        given = {"batch_size": 64, "lr": 2e-3, "schedule": "cosine", "seed": seed, "store": None}
        run = nbopt.Run(make(data.size), data.train, epochs=epochs, **given)
        run.fit()
        small = run.change(nbopt.edits.Shrink(amount=0.5), epochs=epochs + more)
        dense = run.branch(at=run.step_count, epochs=epochs + more)
        for each in (small, dense):
            each.start()
            each.wait()
        entry = next(entry.new for entry in small.journal if entry.name == "edit")
        slow, fast = latencies([dense.model.eval(), small.model.eval()], x[:64])
        accuracy = [100 * (each.predict(x).argmax(1) == y).double().mean().item() for each in (dense, small)]
        rows.append((slow / fast, *accuracy, slow, fast))
        print(
            f"seed {seed}: {slow * 1e3:.2f} → {fast * 1e3:.2f} ms a batch of 64, {slow / fast:.2f} times; accuracy "
            f"{accuracy[0]:.2f} → {accuracy[1]:.2f} %; parameters {entry['parameters']}, MACs {entry['macs']}",
            flush=True,
        )
    means = [statistics.mean(column) for column in zip(*rows, strict=True)]
    print(f"mean: {means[0]:.2f} times; {means[1]:.2f} → {means[2]:.2f} %, {means[2] - means[1]:+.2f} points")


if __name__ == "__main__":
    main()
