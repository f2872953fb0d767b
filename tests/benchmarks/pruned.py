"""What pruning and distillation cost and bring: a step's cost, 90 % pruned, three methods at 95 %, a small student.

``python -m tests.benchmarks.pruned [--only cost grown methods taught] [--data digits fashion] [--seeds 5]``: CPU
time, one thread. Fashion-MNIST, 10,000 of its images, is read where Debian's package ``dataset-fashion-mnist`` is
installed; without it, that is said.
"""

import argparse
import gzip
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

import nbopt
from nbopt.training.state import Stepped

FASHION = Path("/usr/share/datasets/fashion-mnist")
PARTS = ("cost", "grown", "methods", "taught")


def digits():
    """Return training and test images of digits, (n, 1, 8, 8), and labels."""
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    x, y = x[order], torch.tensor(y)[order]
    return (x[:1297], y[:1297]), (x[1297:], y[1297:])


def fashion():
    """Return 10,000 training images of clothes, (n, 1, 28, 28), and all 10,000 to test; None without the package."""
    found = sorted(FASHION.rglob("*ubyte.gz")) if FASHION.exists() else []
    if len(found) < 4:
        return None

    def read(name, skip):
        path = next(path for path in found if path.name.startswith(name))
        return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=skip)

    def pair(name, count):
        x = read(f"{name}-images", 16).reshape(-1, 1, 28, 28)[:count]
        return torch.tensor(x / 255, dtype=torch.float32), torch.tensor(read(f"{name}-labels", 8)[:count]).long()

    return pair("train", 10_000), pair("t10k", 10_000)


def cnn(size, seed, width=32):
    """Return a network for images of so many pixels; its number of weights grows with the square of ``width``."""
    torch.manual_seed(seed)
    layers = nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)
    layers += nn.Conv2d(width, 2 * width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)
    count = 2 * width * (size // 4) ** 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(count, 4 * width), nn.ReLU(), nn.Linear(4 * width, 10))


def train(model, data, seed, epochs, **settings):
    """Train; return the run and its accuracy on what it was not trained on, in points."""
    train_on, test_on = data
    given = {"epochs": epochs, "batch_size": 64, "lr": 2e-3, "schedule": "cosine", "tier": "eager", **settings}
    run = nbopt.Run(model, train_on, store=None, seed=seed, device="cpu", **given)
    for _event in run.events():
        pass
    right = run.predict(test_on[0]).argmax(1) == test_on[1]
    return run, 100 * float(right.float().mean())


def tell(name, found):
    """Print the mean of what seeds came to."""
    spread = statistics.stdev(found) if len(found) > 1 else 0.0
    print(f"  {name:34} {statistics.mean(found):6.2f}  (standard deviation {spread:.2f})", flush=True)


def count(model):
    """Return the number of weights."""
    return sum(weight.numel() for weight in model.parameters())


def cost(data, size, rounds=25, steps=40):
    """Print a step's CPU time with 90 % pruned, as multiples of the plain step's: medians of blocks done in turn."""
    for tier in ("eager", "compiled"):
        plans = {"plain": {}, "magnitude": {"sparsity": 0.9}, "grown": {"sparsity": 0.9, "sparsity_end": 0.9}}
        if tier == "eager":
            plans["gradient"] = {"sparsity": 0.9, "sparsity_method": "gradient"}
        pullers = {}
        for name, plan in plans.items():
            run = nbopt.Run(
                cnn(size, 0), data[0], store=None, device="cpu", batch_size=64, epochs=10**4, tier=tier, **plan
            )
            events = run.events()
            pullers[name] = run, events
            until(events, run, 400 if tier == "compiled" else 60)
        if tier == "compiled":
            for name, (run, events) in pullers.items():
                while not run.training.tiers.steps and run.step_count < 20_000:
                    until(events, run, run.step_count + 50)
                print(f"  {name}: {run.tier}")
        taken = {name: [] for name in plans}
        for _ in range(rounds):
            for name, (run, events) in pullers.items():
                began, first = time.thread_time(), run.step_count
                until(events, run, first + steps)
                taken[name].append((time.thread_time() - began) / (run.step_count - first))
        plain = taken["plain"]
        print(f"  {tier}: plain step {1e6 * statistics.median(plain):.0f} us")
        for name, found in taken.items():
            ratios = [one / other for one, other in zip(found, plain, strict=True)]
            print(f"    {name:12} {statistics.median(ratios):.3f}", flush=True)


def until(events, run, step):
    """Pull events until so many steps are done."""
    while run.step_count < step:
        event = next(events)
        assert event is None or isinstance(event, Stepped) or event


def grown(data, size, seeds, epochs):
    """Print the accuracy of dense networks, and of some pruned gradually to 90 %."""
    for name, plan in {
        "dense": {},
        "90 %, grown from 0.1 to 0.6": {
            "sparsity": 0.9,
            "sparsity_begin": 0.1,
            "sparsity_end": 0.6,
            "sparsity_every": 20,
        },
        "the same, none returns": {
            "sparsity": 0.9,
            "sparsity_begin": 0.1,
            "sparsity_end": 0.6,
            "sparsity_every": 20,
            "sparsity_regrow": False,
        },
    }.items():
        tell(name, [train(cnn(size, seed), data, seed, epochs, **plan)[1] for seed in range(seeds)])


def methods(data, size, seeds, epochs):
    """Print the accuracy of networks pruned to 95 % by three methods."""
    plan = {"sparsity": 0.95, "sparsity_begin": 0.1, "sparsity_end": 0.6, "sparsity_every": 20}
    for name in ("magnitude", "gradient", "random"):
        found = [train(cnn(size, seed), data, seed, epochs, sparsity_method=name, **plan)[1] for seed in range(seeds)]
        tell(f"95 % by {name}", found)


def taught(data, size, seeds, epochs):
    """Print the accuracy of students alone and taught by a network with ten times as many weights."""
    wide, narrow = 32, 10
    teacher_run, points = train(cnn(size, 99, wide), data, 99, epochs)
    teacher = teacher_run.frozen_model()
    share = count(cnn(size, 0, narrow)) / count(teacher)
    print(f"  teacher {points:.2f}; a student has {share:.3f} of its {count(teacher)} weights")
    rows = {"alone": ()}
    rows |= {f"taught at temperature {t}": (t,) for t in (4.0,)}
    for name, given in rows.items():
        found = []
        for seed in range(seeds):
            extra = {}
            if given:
                extra = {"techniques": [nbopt.Distill(teacher)], "distill_weight": 0.9, "temperature": given[0]}
            found.append(train(cnn(size, seed, narrow), data, seed, epochs, **extra)[1])
        tell(name, found)


def main():
    """Print the figures asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--data", nargs="*", choices=("digits", "fashion"), default=("digits", "fashion"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=8)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for name in asked.data:
        data = digits() if name == "digits" else fashion()
        if data is None:
            print(f"Fashion-MNIST is not there: apt-get install dataset-fashion-mnist puts it into {FASHION}.")
            continue
        size = data[0][0].shape[-1]
        epochs = asked.epochs * (6 if name == "digits" else 1)
        for part in asked.only:
            began = time.process_time()
            print(f"{name}, {part}, {asked.seeds} seeds, {epochs} epochs")
            if part == "cost":
                cost(data, size)
            else:
                {"grown": grown, "methods": methods, "taught": taught}[part](data, size, asked.seeds, epochs)
            print(f"  ({time.process_time() - began:.0f} s of CPU)", flush=True)


if __name__ == "__main__":
    main()
