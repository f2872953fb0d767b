"""What few bits cost, and the whole way to a small file: accuracy, bytes of real files, CPU time of a step.

``python -m tests.benchmarks.quantizing [--only cost bits] [--data digits] [--on test] [--seeds 5]``, of
Fashion-MNIST five minutes of CPU; ``--on val`` is for choosing settings. ``--kernels`` measures kernels instead, see
`kernels.py`.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

import nbopt
from tests.benchmarks import images, kernels

PARTS = ("cost", "bits")
PLANS = {"digits": (32, 10, 30), "fashion": (64, 5, 6)}  # batch size, epochs in full, and then with few bits
SPARSITY = {"digits": 0.93, "fashion": 0.91}  # on the whole way
WAYS = {  # what is set for the epochs with few bits
    "full": {},
    "8 bits": {"weight_bits": 8},
    "4 bits": {"weight_bits": 4},
    "2 bits, learned steps": {"weight_bits": 2, "step_size_rate": 0.1},
    "codebook of 4": {"codebook": 4},
    "4 bits, activations too": {"weight_bits": 4, "activation_bits": 4},
    "the whole way": {"sparsity_end": 0.6, "sparsity_every": 5, "temperature": 1.0},  # then a codebook of 16
}


def net(size: int) -> nn.Module:
    """Return a network of two convolutions and two dense layers."""
    if size > 8:
        features, width = images.halved(size, 16, 32), 7
    else:
        features, width = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU()], 4
        features += [nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    dense = nn.Linear(32 * width**2, 64), nn.ReLU(), nn.Linear(64, 10)
    return nn.Sequential(*features, nn.Flatten(), *dense)


def bits(name: str, on: str, seeds: int, ways: list[str]) -> None:
    """Print for each way accuracy in percent, the bytes of the file, and how many times smaller that is."""
    data, (batch, first, then) = images.load(name), PLANS[name]
    rows: dict[str, list[tuple[float, int, float]]] = {way: [] for way in ("full", *ways)}
    epoch = -(-len(data.train[0]) // batch)
    for seed in range(seeds):
        torch.manual_seed(seed)
        settings = {"batch_size": batch, "optimizer": "adam", "lr": 2e-3, "schedule": "cosine", "seed": seed}
        settings |= {"store": None, "tier": "eager"}
        begun = nbopt.Run(net(data.size), data.train, epochs=first + then, **settings)
        begun.step(first * epoch)
        full = begun.branch(at=begun.step_count)
        full.step(then * epoch)
        for way in rows:
            if way == "the whole way":
                run = go_whole_way(begun, full, data.train, settings | {"sparsity": SPARSITY[name]}, then)
            elif way == "full":
                run = full
            else:
                run = begun.branch(at=begun.step_count, **WAYS[way])
                run.step(then * epoch)
            rows[way].append(look(run, *getattr(data, on)))
            print(f"  seed {seed}, {way}: {rows[way][-1]}", flush=True)
    best = statistics.mean(row[0] for row in rows["full"])
    for way, found in rows.items():
        accuracy, size, times = (statistics.mean(column) for column in zip(*found, strict=True))
        told = f"{accuracy:6.2f} % ({min(found)[0]:.2f} to {max(found)[0]:.2f})  {accuracy - best:+.2f}"
        print(f"{way:26} {told}  {size:8.0f} bytes, {times:5.1f} times smaller", flush=True)


def go_whole_way(begun: nbopt.Run, full: nbopt.Run, train: images.Pair, settings: dict[str, Any], epochs: int):
    """Prune a model little by little, taught by one that trained as long in full, and quantize what is left."""
    wanted = settings | WAYS["the whole way"] | {"epochs": epochs, "techniques": [nbopt.Distill(full)]}
    run = nbopt.Run(copy.deepcopy(begun.model), train, **wanted)
    steps = epochs * -(-len(train[0]) // settings["batch_size"])
    run.step(round(0.7 * steps))
    run.set(codebook=16)
    run.step(steps - run.step_count)
    return run


def look(run: nbopt.Run, x: torch.Tensor, y: torch.Tensor) -> tuple[float, int, float]:
    """Return a run's accuracy in percent, the bytes of its file, and how many times smaller that is."""
    accuracy = (run.predict(x).argmax(1) == y).double().mean().item() * 100
    with tempfile.TemporaryDirectory() as folder:
        exported = run.export(Path(folder) / "small.safetensors")
    return accuracy, exported.bytes, exported.times_smaller


def cost(data: images.Images) -> None:
    """Print CPU time of a step relative to a plain one, all runs in turn in one process."""
    ways = {"plain": {}, "8 bits": {"weight_bits": 8}, "codebook of 16": {"codebook": 16}, "learned steps": {}}
    ways["learned steps"] = {"weight_bits": 4, "step_size_rate": 0.1}
    ways["8 bits, activations too"] = {"weight_bits": 8, "activation_bits": 8}
    runs = {}
    for name, values in ways.items():
        torch.manual_seed(0)
        settings = {"batch_size": 64, "optimizer": "adam", "epochs": 10**6, "store": None, "tier": "eager"}
        runs[name] = nbopt.Run(net(data.size), data.train, **settings, **values)
        runs[name].step(20)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _round in range(15):
        for name, run in runs.items():
            begin = time.process_time()
            run.step(50)
            times[name].append(time.process_time() - begin)
    middle = {name: statistics.median(values) for name, values in times.items()}
    for name, value in middle.items():
        print(f"a step with {name}: {value / middle['plain']:.2f} times the CPU time of a plain one", flush=True)


def main() -> None:
    """Print the figures asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--data", choices=images.NAMES, default="digits")
    parser.add_argument("--ways", nargs="*", choices=WAYS, default=list(WAYS), help="beside full")
    parser.add_argument("--on", choices=("val", "test"), default="test")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--kernels", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.kernels:
        return kernels.main()
    if "cost" in asked.only:
        cost(images.load(asked.data))
    if "bits" in asked.only:
        bits(asked.data, asked.on, asked.seeds, asked.ways)


if __name__ == "__main__":
    main()
