"""How good what a study finds is, against Optuna called directly: see `study.py`, ``--quality``.

The same small MLP on six tabular tasks; each trial trains the same number of epochs on the same split from the same
weights, and is judged by its last validation loss. Which function a search minimizes decides how low its best value
is: a study's trials draw the same batches and masks, while in a loop that seeds nothing each trial draws others, and
the best of its thirty is also the luckiest. Hence Optuna searches three times:

* the very function that the study minimizes, each trial a run with the study's seed: that compares the searches;
* a hand-written loop seeded alike for each trial: the same, and the training beside it;
* a hand-written loop that seeds nothing: as most people write it, its best value flattered.

What a user gets is the values, whatever the number beside them. So the winners of all are trained again, by the
hand-written loop with three seeds that no search has seen, other initial weights included, and the means are compared.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
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

TRIALS, EPOCHS, BATCH, AGAIN = 30, 9, 32, 3
TASKS: dict[str, Callable[[], Any]] = {
    "iris": partial(datasets.load_iris, return_X_y=True),
    "wine": partial(datasets.load_wine, return_X_y=True),
    "breast cancer": partial(datasets.load_breast_cancer, return_X_y=True),
    "digits, 300 of them": lambda: tuple(part[:300] for part in datasets.load_digits(return_X_y=True)),
    "diabetes": partial(datasets.load_diabetes, return_X_y=True),
    "Friedman 1": partial(datasets.make_friedman1, 300, 10, noise=1.0, random_state=0),
}
LOSSES = {"mse": functional.mse_loss, "cross_entropy": functional.cross_entropy}
Values = dict[str, float]


class Task(NamedTuple):
    """One split of a data set, and the seed of those who search on it, which no other task has."""

    train: Pair
    val: Pair
    model: nn.Module
    loss: str
    seed: int


class Found(NamedTuple):
    """What a search found best: the loss that it saw, and the values."""

    loss: float
    values: Values


def make_model(inputs: int, outputs: int, seed: int) -> nn.Module:
    """Return the MLP as a seed has it begin."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(inputs, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, outputs))


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
    model = make_model(x.shape[1], 1 if numbers else len(set(y)), seed)
    return Task(*pairs, model, "mse" if numbers else "cross_entropy", 1_000 * (1 + [*TASKS].index(name)) + seed)


def by_loop(task: Task, values: Values, model: nn.Module) -> float:
    """Return the last validation loss of a copy of the model, trained by hand with what torch draws next."""
    model = deepcopy(model)
    model[2].p = values["dropout"]
    own = torch.optim.Adam(model.parameters(), lr=values["lr"], weight_decay=values["weight_decay"])
    return train_by_hand(model, own, LOSSES[task.loss], lambda: slices(task.train, BATCH), task.val, EPOCHS)


def by_loop_alike(task: Task, values: Values) -> float:
    """Return the same where all trials draw the same batches and masks."""
    torch.manual_seed(task.seed)
    return by_loop(task, values, task.model)


def by_run(task: Task, values: Values) -> float:
    """Return what a study's trial of these values finds."""
    given: dict[str, Any] = {"epochs": EPOCHS, "batch_size": BATCH, "seed": task.seed, "recover": False, **values}
    run = nbopt.Run(deepcopy(task.model), task.train, task.val, task.loss, store=None, **given)
    for _event in run.events():
        pass
    return float(run.history["val_loss"][1][-1])


def by_optuna(task: Task, train: Callable[[Task, Values], float]) -> Found:
    """Return what Optuna's TPE finds of a function."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=task.seed))
    torch.manual_seed(task.seed)
    study.optimize(lambda trial: train(task, suggest(trial)), n_trials=TRIALS)
    return Found(study.best_value, study.best_params)


def by_study(task: Task, **how: Any) -> Found:
    """Return what a study finds."""
    given = {"space": make_space(), "epochs": EPOCHS, "batch_size": BATCH, "trials": TRIALS, "store": None, **how}
    study = nbopt.Study(task.model, task.train, task.val, task.loss, seed=task.seed, **given).fit()
    return Found(study.best.objective, study.best.values)


OPTUNA = "Optuna"
SEARCHES: dict[str, Callable[[Task], Found]] = {
    f"{OPTUNA}, the same function": partial(by_optuna, train=by_run),
    f"{OPTUNA}, a loop alike": partial(by_optuna, train=by_loop_alike),
    f"{OPTUNA}, a loop unseeded": partial(by_optuna, train=lambda task, values: by_loop(task, values, task.model)),
    "a study": by_study,
    "a study, hyperband": partial(by_study, pruner="hyperband"),
    "a study of twice as many, hyperband": partial(by_study, pruner="hyperband", trials=2 * TRIALS),
}


def train_again(task: Task, values: Values) -> float:
    """Return the mean loss of these values, trained by hand with seeds, and from weights, that no search has seen."""
    found = []
    for seed in range(AGAIN):
        outputs = task.model[3].out_features
        model = make_model(task.train[0].shape[1], outputs, 100_000 + 10 * task.seed + seed)
        found.append(by_loop(task, values, model))
    return float(np.mean(found))


def compare(seeds: Sequence[int], without: Sequence[str] = ()) -> Iterator[str]:
    """Yield rows: medians of the best losses, and how sure it is that a study's are higher than Optuna's."""
    searches = {name: search for name, search in SEARCHES.items() if not any(word in name for word in without)}
    best: dict[str, list[float]] = {name: [] for name in searches}
    again: dict[str, list[float]] = {name: [] for name in searches}
    seconds = dict.fromkeys(searches, 0.0)
    for name in TASKS:
        for seed in seeds:
            task = make_task(name, seed)
            for way, search in searches.items():
                began = time.process_time()
                found = search(task)
                seconds[way] += time.process_time() - began
                best[way].append(found.loss)
                again[way].append(train_again(task, found.values))
        last = -len(seeds)
        told = [
            f"{way} {np.median(best[way][last:]):.4f}, again {np.median(again[way][last:]):.4f}" for way in searches
        ]
        yield f"{name}: " + "; ".join(told)
    references = [way for way in searches if way.startswith(OPTUNA)]
    for way in (way for way in searches if way not in references):
        for reference in references:
            for what, losses in (("best loss", best), ("winner trained again", again)):
                yield f"{way} against {reference}, {what}: {tell(np.array(losses[way]), np.array(losses[reference]))}"
    yield "CPU seconds: " + ", ".join(f"{way} {spent:.0f}" for way, spent in seconds.items())


def tell(own: Any, theirs: Any) -> str:
    """Return how losses compare with others, pair by pair."""
    better, ratio = (own < theirs).sum(), np.median(own / theirs)
    worse = wilcoxon(own, theirs, alternative="greater").pvalue
    return f"better in {better} of {len(own)}, median ratio {ratio:.3f}, worse with p = {worse:.3f}"
