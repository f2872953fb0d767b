"""Two networks trained apart on digits and fused: as they are, their units in order, and side by side.

``python -m tests.benchmarks.fusing`` takes two minutes. Each is validated before it trains on, and after.
"""

from __future__ import annotations

import copy
import statistics
import sys
from collections.abc import Callable

import torch
from sklearn.datasets import load_digits
from torch import nn

import nbopt

EPOCHS, MORE = 10, 3
Data = tuple[torch.Tensor, torch.Tensor]


def mlp() -> nn.Module:
    """Return a network of two hidden layers."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))


def cnn() -> nn.Module:
    """Return a network of two convolutions, with batch normalization."""
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(256, 10)),
    )


def accuracy(model: nn.Module, data: Data) -> float:
    """Return the percentage of samples that a model gets right."""
    with torch.inference_mode():
        return 100 * float((copy.deepcopy(model).eval()(data[0]).argmax(1) == data[1]).float().mean())


def mean_of(one: nn.Module, other: nn.Module, train: Data) -> nn.Module:
    """Return the average of two models as they are, batch normalization measured anew."""
    made = copy.deepcopy(one)
    with torch.no_grad():
        for ours, theirs in zip(made.parameters(), other.parameters(), strict=True):
            ours.copy_((ours + theirs) / 2)
        for layer in made.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.reset_running_stats()
                layer.momentum = None
        made.train()(train[0])
    return made


def fuse(makers: tuple[Callable[[], nn.Module], ...], seed: int, train: Data, val: Data) -> list[float]:
    """Return accuracies: of both, of their average, of one trained on, fused in each way, and each trained on."""
    runs = []
    for number, make in enumerate(makers):
        torch.manual_seed(2 * seed + number)
        given = {"metrics": ["accuracy"], "batch_size": 64, "lr": 2e-3, "seed": 2 * seed + number, "store": None}
        runs.append(nbopt.Run(make(), train, val, epochs=EPOCHS, **given))
        runs[-1].fit()
    one, other = runs
    found = [accuracy(run.model, val) for run in runs]
    alike = makers[0] is makers[1]
    found.append(accuracy(mean_of(one.model, other.model, train), val) if alike else float("nan"))
    alone = one.branch(at=one.step_count, epochs=EPOCHS + MORE)
    alone.start()
    alone.wait()
    found.append(accuracy(alone.model, val))
    for how in ("average", "features"):
        if how == "average" and not alike:
            found += [float("nan")] * 2
            continue
        fused = one.change(nbopt.edits.Fuse(other, how), epochs=EPOCHS + MORE)
        found.append(accuracy(fused.model, val))
        fused.start()
        fused.wait()
        found.append(accuracy(fused.model, val))
    return found


def main(seeds: int) -> None:
    """Print a line for each pair of networks and seed, and the means."""
    torch.set_num_threads(1)
    digits = load_digits()
    x, y = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16, torch.tensor(digits.target)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    train, val = (x[order[450:]], y[order[450:]]), (x[order[:450]], y[order[:450]])
    names = "one, other, mean, one trained on, in order, trained on, joined, trained on"
    for title, makers in (("MLP", (mlp, mlp)), ("CNN", (cnn, cnn)), ("CNN and MLP", (cnn, mlp))):
        rows = []
        for seed in range(seeds):
            rows.append(fuse(makers, seed, train, val))
            print(f"{title}, seed {seed}: {names}: {', '.join(f'{each:.2f}' for each in rows[-1])}", flush=True)
        means = [statistics.mean(column) for column in zip(*rows, strict=True)]
        print(f"{title}: {names}: {', '.join(f'{each:.2f}' for each in means)}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
