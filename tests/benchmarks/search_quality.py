"""How good what a study finds is, against Optuna called directly: see `study.py`, ``--quality``.

The same small MLP on six tabular tasks; each trial trains the same number of epochs on the same split from the same
weights, and is judged by its last validation loss. A study's trials draw the same batches and masks, too; those of a
plain loop do not, and the best of thirty is then also the luckiest. So Optuna searches twice, once with trials alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import optuna
import torch
from scipy.stats import wilcoxon
from sklearn import datasets
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn import functional

import nbopt
from tests.benchmarks.searches import Pair, make_space, slices, suggest, train_by_hand

TRIALS, EPOCHS, BATCH = 30, 9, 32
TASKS: dict[str, Callable[[], Any]] = {
    "iris": partial(datasets.load_iris, return_X_y=True),
    "wine": partial(datasets.load_wine, return_X_y=True),
    "breast cancer": partial(datasets.load_breast_cancer, return_X_y=True),
    "digits, 300 of them": lambda: tuple(part[:300] for part in datasets.load_digits(return_X_y=True)),
    "diabetes": partial(datasets.load_diabetes, return_X_y=True),
    "Friedman 1": partial(datasets.make_friedman1, 300, 10, noise=1.0, random_state=0),
}


class Task(NamedTuple):
    """One split of a data set."""

    train: Pair
    val: Pair
    model: nn.Module
    loss: str


def make_task(name: str, seed: int) -> Task:
    """Return a task as one seed splits it, and has its model begin."""
    x, y = TASKS[name]()
    numbers = y.dtype.kind == "f"
    one, other, own, theirs = train_test_split(x, y, test_size=0.3, random_state=seed, stratify=None if numbers else y)
    scaler = StandardScaler().fit(one)
    if numbers:
        own, theirs = ((part[:, None] - own.mean()) / own.std() for part in (own, theirs))
    kind = torch.float32 if numbers else torch.int64
    pairs = [
        (torch.tensor(scaler.transform(a), dtype=torch.float32), torch.tensor(b, dtype=kind))
        for a, b in ((one, own), (other, theirs))
    ]
    torch.manual_seed(seed)
    outputs = 1 if numbers else len(set(y))
    model = nn.Sequential(nn.Linear(x.shape[1], 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, outputs))
    return Task(*pairs, model, "mse" if numbers else "cross_entropy")


def by_optuna(task: Task, seed: int, alike: bool = False) -> float:
    """Return the best loss that Optuna's TPE finds; where trials are alike, all draw the same batches and masks."""
    from copy import deepcopy

    loss = {"mse": functional.mse_loss, "cross_entropy": functional.cross_entropy}[task.loss]

    def objective(trial: optuna.Trial) -> float:
        if alike:
            torch.manual_seed(seed)
        given, model = suggest(trial), deepcopy(task.model)
        model[2].p = given["dropout"]
        own = torch.optim.Adam(model.parameters(), lr=given["lr"], weight_decay=given["weight_decay"])
        return train_by_hand(model, own, loss, lambda: slices(task.train, BATCH), task.val, EPOCHS)

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    study.optimize(objective, n_trials=TRIALS)
    return study.best_value


def by_study(task: Task, seed: int, **how: Any) -> float:
    """Return the best loss that a study finds."""
    given = {"space": make_space(), "epochs": EPOCHS, "batch_size": BATCH, "trials": TRIALS, "store": None, **how}
    study = nbopt.Study(task.model, task.train, task.val, task.loss, seed=seed, **given).fit()
    return study.best.objective


SEARCHES: dict[str, Callable[[Task, int], float]] = {
    "Optuna": by_optuna,
    "Optuna, trials alike": partial(by_optuna, alike=True),
    "a study": by_study,
    "a study, hyperband": partial(by_study, pruner="hyperband"),
    "a study of twice as many, hyperband": partial(by_study, pruner="hyperband", trials=2 * TRIALS),
}


def compare(seeds: int, without: Sequence[str] = ()) -> Iterator[str]:
    """Yield rows: medians of the best losses, and how sure it is that a study's are higher than Optuna's."""
    searches = {name: search for name, search in SEARCHES.items() if not any(word in name for word in without)}
    found: dict[str, list[float]] = {name: [] for name in searches}
    seconds = dict.fromkeys(searches, 0.0)
    for name in TASKS:
        for seed in range(seeds):
            task = make_task(name, seed)
            for way, search in searches.items():
                began = time.process_time()
                found[way].append(search(task, seed))
                seconds[way] += time.process_time() - began
        told = [f"{way} {np.median(losses[-seeds:]):.4f}" for way, losses in found.items()]
        yield f"{name}: " + ", ".join(told)
    optuna, alike, *studies = searches
    for by in (optuna, alike):
        reference = np.array(found[by])
        for way in [alike, *studies] if by == optuna else studies:
            losses = np.array(found[way])
            worse = wilcoxon(losses, reference, alternative="greater").pvalue
            better, ratio = (losses < reference).sum(), np.median(losses / reference)
            told = f"better in {better} of {len(losses)}, median ratio {ratio:.3f}, worse with p = {worse:.3f}"
            yield f"{way} against {by}: {told}; that takes {seconds[by] / seconds[way]:.1f} times as long"
