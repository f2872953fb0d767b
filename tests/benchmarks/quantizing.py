"""What few bits cost, and the whole way to a small file: accuracy, bytes of real files, CPU time of a step.

``python -m tests.benchmarks.quantizing`` does it on digits, ``--data fashion`` on 10,000 images of Fashion-MNIST;
``--seeds 5``. ``--kernels`` measures kernels instead, see `kernels.py`.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn

import nbopt
from tests.benchmarks import images, kernels

FIRST, THEN = 10, 10  # epochs in full, and those with few bits
PRUNE = {"sparsity": 0.9, "sparsity_every": 10}
WAYS = {
    "full": [({}, THEN)],
    "8 bits": [({"weight_bits": 8}, THEN)],
    "4 bits": [({"weight_bits": 4}, THEN)],
    "2 bits, learned steps": [({"weight_bits": 2, "step_size_rate": 0.1}, THEN)],
    "codebook of 4": [({"codebook": 4}, THEN)],
    "4 bits, activations too": [({"weight_bits": 4, "activation_bits": 4}, THEN)],
    "the whole way": [(PRUNE, 4), ({"sparsity": 0.94}, 3), ({"codebook": 16, "lr": 1e-3}, 3)],
}


def digits():
    """Return images and labels."""
    data = load_digits()
    return torch.tensor(data.images, dtype=torch.float32)[:, None] / 16, torch.tensor(data.target)


def net(size: int) -> nn.Module:
    """Return a network of two convolutions and two dense layers."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2) if size > 8 else nn.Identity()),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(32 * (4 if size == 8 else 7) ** 2, 64), nn.ReLU(), nn.Linear(64, 10)),
    )


def train(data, seed: int, way) -> tuple[float, float, int]:
    """Return the accuracy on a quarter of the data in percent, how many times smaller the file is, and its bytes."""
    x, y = data
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    kept, held = order[len(x) // 4 :], order[: len(x) // 4]
    torch.manual_seed(seed)
    settings = {"batch_size": 32, "optimizer": "adam", "lr": 2e-3, "epochs": FIRST + THEN, "seed": seed}
    run = nbopt.Run(net(x.shape[-1]), (x[kept], y[kept]), store=None, tier="eager", **settings)
    epoch = -(-len(kept) // 32)
    run.step(FIRST * epoch)
    for values, epochs in way:
        run.set(**values)
        run.step(epochs * epoch)
    accuracy = (run.predict(x[held]).argmax(1) == y[held]).double().mean().item() * 100
    with tempfile.TemporaryDirectory() as folder:
        exported = run.export(Path(folder) / "small.safetensors")
    return accuracy, exported.times_smaller, exported.bytes


def measure_steps(data) -> dict[str, float]:
    """Return CPU time of a step relative to a plain one, all runs in turn in one process."""
    x, y = data
    ways = {"plain": {}, "8 bits": {"weight_bits": 8}, "codebook of 16": {"codebook": 16}, "learned steps": {}}
    ways["learned steps"] = {"weight_bits": 4, "step_size_rate": 0.1}
    ways["8 bits, activations too"] = {"weight_bits": 8, "activation_bits": 8}
    runs = {}
    for name, values in ways.items():
        torch.manual_seed(0)
        settings = {"batch_size": 64, "optimizer": "adam", "epochs": 10**6, "store": None, "tier": "eager"}
        runs[name] = nbopt.Run(net(x.shape[-1]), (x, y), **settings, **values)
        runs[name].step(20)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _round in range(15):
        for name, run in runs.items():
            begin = time.process_time()
            run.step(50)
            times[name].append(time.process_time() - begin)
    middle = {name: statistics.median(values) for name, values in times.items()}
    return {name: value / middle["plain"] for name, value in middle.items()}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", choices=images.NAMES, default="digits")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--kernels", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.kernels:
        return kernels.main()
    data = digits() if given.data == "digits" else images.load(given.data).train
    for name, ratio in measure_steps(data).items():
        print(f"a step with {name}: {ratio:.2f} times the CPU time of a plain one", flush=True)
    for name, way in WAYS.items():
        rows = [train(data, seed, way) for seed in range(given.seeds)]
        accuracy, times, size = (statistics.mean(column) for column in zip(*rows, strict=True))
        spread = f"{min(row[0] for row in rows):.2f} to {max(row[0] for row in rows):.2f}"
        print(f"{name:26} {accuracy:6.2f} % ({spread})  {size:8.0f} bytes, {times:5.1f} times smaller", flush=True)


if __name__ == "__main__":
    main()
