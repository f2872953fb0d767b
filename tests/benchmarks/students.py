"""A student of a tenth of its teachers' weights on UCI's vowels, alone and taught, on the same rows; each is a run.

``python -m tests.benchmarks.students [--splits 5] [--first 10] [--settings 16]`` takes some minutes of CPU. It reads
the table from Debian's package r-cran-mlbench, unpacked at ``--root``, by the package rdata. Each side takes the best
of as many settings, drawn at random, by the rows for validation of all splits; what is told is of those for tests.
"""

from __future__ import annotations

import argparse
import random
import statistics
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import nbopt

TABLE = "usr/lib/R/site-library/mlbench/data/Vowel.rda"  # where Debian's package r-cran-mlbench puts it
TRAINED, VALIDATED = 500, 163  # rows; those for tests are the others
WIDE, NARROW = 200, 19  # 4,411 weights, and 429
TEACHERS = 3

Pair = tuple[Tensor, Tensor]


def read(root: Path) -> Pair:
    """Return the table: ten columns, and eleven classes."""
    try:
        import rdata
    except ImportError:
        raise SystemExit("The table is read by the package rdata: pip install rdata.") from None
    if not (path := root / TABLE).exists():
        raise SystemExit(f"UCI's vowels are not there: apt-get install r-cran-mlbench puts them into {path}.")
    table = rdata.read_rda(path)["Vowel"]
    columns = [np.asarray(table[name].astype(float)) for name in table if name != "Class"]
    classes = torch.tensor(np.array(table["Class"].astype("category").cat.codes)).long()
    return torch.tensor(np.stack(columns, 1), dtype=torch.float32), classes


def split(x: Tensor, y: Tensor, seed: int) -> list[Pair]:
    """Return the rows to train on, to choose by and to report on, scaled by those to train on."""
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    x, y = x[order], y[order]
    x = (x - x[:TRAINED].mean(0)) / x[:TRAINED].std(0)
    ends = (0, TRAINED, TRAINED + VALIDATED, len(x))
    return [(x[begin:end], y[begin:end]) for begin, end in pairwise(ends)]


def train(width: int, rows: Pair, seed: int, **settings: Any) -> nbopt.Run:
    """Return a run of an MLP that is at its end."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(rows[0].shape[1], width), nn.ReLU(), nn.Linear(width, 11))
    return nbopt.Run(model, rows, optimizer="adamw", schedule="cosine", seed=seed, store=None, **settings).fit()


def draw(chance: random.Random, taught: bool) -> dict[str, Any]:
    """Return settings of a student."""
    drawn: dict[str, Any] = {"lr": chance.choice((1e-2, 3e-2, 1e-1)), "epochs": chance.choice((100, 200, 400))}
    drawn |= {"weight_decay": chance.choice((0.0, 0.1, 0.3)), "batch_size": chance.choice((32, 64))}
    drawn["input_noise"] = chance.choice((0.0, 0.1))
    if not taught:
        return drawn | {"label_smoothing": chance.choice((0.0, 0.1))}
    return drawn | {"temperature": chance.choice((1.0, 2.0, 4.0)), "distill_weight": chance.choice((0.5, 0.9, 1.0))}


def accuracy(run: nbopt.Run, rows: Pair) -> float:
    """Return the share of rows that are right, in per cent."""
    return 100 * (run.predict(rows[0]).argmax(1) == rows[1]).double().mean().item()


def main() -> None:
    """Print each side's best settings, and the difference of each split."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("/"))
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--first", type=int, default=10)
    parser.add_argument("--settings", type=int, default=16)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    x, y = read(asked.root)
    splits = [split(x, y, seed) for seed in range(asked.first, asked.first + asked.splits)]
    how = {"epochs": 200, "lr": 1e-2, "weight_decay": 0.01, "batch_size": 64}
    teachers = [[train(WIDE, rows, seed, **how) for seed in range(TEACHERS)] for rows, _val, _test in splits]
    of_one = [accuracy(each[0], test) for each, (_rows, _val, test) in zip(teachers, splits, strict=True)]
    print(f"a teacher: {statistics.mean(of_one):.2f} % of the rows for tests", flush=True)
    chance, found = random.Random(2), {}
    for side in ("alone", "taught"):
        tried = []
        for _setting in range(asked.settings):
            settings, results = draw(chance, side == "taught"), []
            for (rows, val, test), known in zip(splits, teachers, strict=True):
                more = {"techniques": [nbopt.Distill(known)]} if side == "taught" else {}
                run = train(NARROW, rows, 0, **settings, **more)
                results.append((accuracy(run, val), accuracy(run, test)))
            tried.append((statistics.mean(each[0] for each in results), [each[1] for each in results], settings))
        found[side] = max(tried, key=lambda each: each[0])
        chosen, tests, settings = found[side]
        print(f"{side}: {chosen:.2f} % to choose by, {statistics.mean(tests):.2f} % of the rows for tests, {settings}")
    differences = [b - a for a, b in zip(found["alone"][1], found["taught"][1], strict=True)]
    print(f"taught - alone: {statistics.mean(differences):+.2f} points", [round(each, 2) for each in differences])


if __name__ == "__main__":
    main()
