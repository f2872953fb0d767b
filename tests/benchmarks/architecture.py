"""Searches for an architecture on real pictures: what each sampler finds at equal budget, and fronts of size and time.

``python -m tests.benchmarks.architecture [--data fashion] [--trials 24] [--seeds 1]``: CPU time, one thread.
Fashion-MNIST is that of Debian's package ``dataset-fashion-mnist``; digits come with scikit-learn.
"""

import argparse
import functools
import gzip
import time
from pathlib import Path

import numpy as np
import torch

import nbopt

FASHION = Path("/usr/share/datasets/fashion-mnist")
SAMPLERS = ("random", "tpe", "genetic", "reinforce")


def load(data, count):
    """Return so many training samples and half as many for validation, as (x, y) each."""
    if data == "digits":
        from sklearn.datasets import load_digits

        x, y = load_digits(return_X_y=True)
        x = (x / 16).reshape(-1, 1, 8, 8)
    else:
        x, y = (_read(next(FASHION.glob(f"train-{kind}*"))) for kind in ("images", "labels"))
        x = x[:, None] / 255
    order = np.random.default_rng(0).permutation(len(x))
    train, val = order[:count], order[count : count + count // 2]
    return [(x[rows].astype(np.float32), y[rows].astype(np.int64)) for rows in (train, val)]


def _read(path):
    content = (gzip.open(path) if path.suffix == ".gz" else path.open("rb")).read()
    sizes = [int.from_bytes(content[4 + 4 * k : 8 + 4 * k]) for k in range(content[3])]
    return np.frombuffer(content, np.uint8, offset=4 + 4 * len(sizes)).reshape(sizes)


def search(data, trials, **given):
    """Search, and return the study and its CPU seconds."""
    space = {
        **{f"cell_{k}": nbopt.models.Cells.declared()[f"cell_{k}"] for k in range(1, 5)},
        "depth": (1, 4),
        "width": (8, 16),
        "activation": ["relu", "gelu", "silu"],
    }
    settings = {"metrics": ["accuracy"], "epochs": 4, "batch_size": 32, "lr": 0.01, "schedule": "one_cycle"}
    build = functools.partial(nbopt.models.Cells, 1, 10)
    began = time.process_time()
    study = nbopt.Study(build, *data, space=space, trials=trials, store=None, **settings, **given).fit()
    return study, time.process_time() - began


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", choices=("fashion", "digits"), default="fashion")
    options.add_argument("--trials", type=int, default=24)
    options.add_argument("--samples", type=int, default=1000)
    options.add_argument("--seeds", type=int, default=1)
    wanted = options.parse_args()
    torch.set_num_threads(1)
    data = load(wanted.data, wanted.samples)
    for sampler in SAMPLERS:
        found = [
            search(data, wanted.trials, objective="val_accuracy", sampler=sampler, seed=seed)
            for seed in range(wanted.seeds)
        ]
        best = ", ".join(f"{study.best.objective:.3f}" for study, _seconds in found)
        late = np.mean([t.objective for study, _seconds in found for t in study.trials[-wanted.trials // 4 :]])
        seconds = np.mean([seconds for _study, seconds in found])
        print(f"{sampler:9} best {best}; mean of the last quarter {late:.3f}; {seconds:.0f} s of CPU", flush=True)
        print("         ", found[0][0].best, flush=True)
    for cost in ("parameters", "latency"):
        study, seconds = search(data, wanted.trials, objective=["val_accuracy", cost], sampler="nsga2")
        print(f"accuracy and {cost}, {seconds:.0f} s of CPU:", flush=True)
        for trial in study.front:
            print(f"    {trial.objectives[0]:.3f} {trial.objectives[1]:10,.3f}", trial.values, flush=True)
