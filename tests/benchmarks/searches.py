"""128 trials of the small MLP (lr, weight decay, dropout): by a study, by Optuna and loops: see `study.py`, ``--race``.

All train the same number of epochs, are validated after each, and are judged by their last validation loss.
"""

from __future__ import annotations

import logging
import statistics
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import optuna
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import nbopt

TRIALS, EPOCHS, SAMPLES, BATCH = 128, 4, 4_096, 64
RANGES = {"lr": (1e-4, 1e-1), "weight_decay": (1e-6, 1e-1), "dropout": (0.05, 0.6)}
OPTIMIZERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}
Pair = tuple[Tensor, Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]
Objective = Callable[[optuna.Trial], float]


def make_data() -> tuple[Pair, Pair]:
    """Return samples that can be learned: those that train, and a quarter as many that validate."""
    made = torch.Generator().manual_seed(0)
    x = torch.randn(SAMPLES + SAMPLES // 4, 64, generator=made)
    y = (torch.tanh(x @ torch.randn(64, 10, generator=made)) @ torch.randn(10, 10, generator=made)).argmax(1)
    return (x[:SAMPLES], y[:SAMPLES]), (x[SAMPLES:], y[SAMPLES:])


def make_model(dropout: float = 0.1) -> nn.Module:
    """Return the small MLP, with dropout."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(dropout), nn.Linear(64, 10))


def suggest(trial: optuna.Trial) -> dict[str, float]:
    """Return the values of a trial."""
    return {name: trial.suggest_float(name, *ends, log=name != "dropout") for name, ends in RANGES.items()}


def train_by_hand(
    model: nn.Module,
    own: torch.optim.Optimizer,
    loss: Loss,
    batches: Callable[[], Iterable[Pair]],
    val: Pair,
    epochs: int = EPOCHS,
) -> float:
    """Train as anybody would write it; return the last validation loss."""
    found = torch.tensor(0.0)
    for _epoch in range(epochs):
        model.train()
        for x, y in batches():
            own.zero_grad()
            loss(model(x), y).backward()
            own.step()
        model.eval()
        with torch.no_grad():
            found = loss(model(val[0]), val[1])
    return float(found)


def slices(train: Pair, batch: int) -> Iterator[Pair]:
    """Yield batches of tensors in memory, in a new order."""
    order = torch.randperm(len(train[0]))
    for at in range(0, len(order), batch):
        rows = order[at : at + batch]
        yield train[0][rows], train[1][rows]


def by_hand(optimizer: str, loaders: bool = False) -> Objective:
    """Return an objective with a loop over tensors in memory, or over a ``DataLoader``."""
    train, val = make_data()
    loader = DataLoader(TensorDataset(*train), batch_size=BATCH, shuffle=True)

    def objective(trial: optuna.Trial) -> float:
        given = suggest(trial)
        model = make_model(given["dropout"])
        own = OPTIMIZERS[optimizer](model.parameters(), lr=given["lr"], weight_decay=given["weight_decay"])
        batches = (lambda: loader) if loaders else lambda: slices(train, BATCH)
        return train_by_hand(model, own, functional.cross_entropy, batches, val)

    return objective


def by_lightning(optimizer: str) -> Objective:
    """Return an objective that has Lightning train, with logs, bars and checkpoints off."""
    import lightning

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    train, val = (TensorDataset(*pair) for pair in make_data())

    class Module(lightning.LightningModule):
        def __init__(self, given: dict[str, float]) -> None:
            super().__init__()
            self.model, self.given = make_model(given["dropout"]), given

        def training_step(self, batch: Pair, _index: int) -> Tensor:
            return functional.cross_entropy(self.model(batch[0]), batch[1])

        def validation_step(self, batch: Pair, _index: int) -> None:
            self.log("val_loss", functional.cross_entropy(self.model(batch[0]), batch[1]))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            own = self.given["lr"], self.given["weight_decay"]
            return OPTIMIZERS[optimizer](self.parameters(), lr=own[0], weight_decay=own[1])

    off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")

    def objective(trial: optuna.Trial) -> float:
        trainer = lightning.Trainer(
            accelerator="cpu", devices=1, max_epochs=EPOCHS, num_sanity_val_steps=0, **dict.fromkeys(off, False)
        )
        loaders = DataLoader(train, batch_size=BATCH, shuffle=True), DataLoader(val, batch_size=len(val))
        trainer.fit(Module(suggest(trial)), *loaders)
        return float(trainer.callback_metrics["val_loss"])

    return objective


def by_optuna(objective: Objective, trials: int) -> float:
    """Return the seconds of processor time that Optuna's random search takes."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    began = time.process_time()
    optuna.create_study(sampler=optuna.samplers.RandomSampler(0)).optimize(objective, n_trials=trials)
    return time.process_time() - began


def by_study(optimizer: str, trials: int = TRIALS, **how: Any) -> float:
    """Return the seconds of processor time that a study takes."""
    train, val = make_data()
    given: dict[str, Any] = {"sampler": "random", "trials": trials, "optimizer": optimizer, "store": None, **how}
    began = time.process_time()
    nbopt.Study(make_model(), train, val, space=make_space(), epochs=EPOCHS, batch_size=BATCH, **given).fit()
    return time.process_time() - began


def make_space() -> dict[str, nbopt.Float]:
    """Return the ranges as declarations."""
    log = {name: name != "dropout" for name in RANGES}
    return {name: nbopt.Float(ends[0], low=ends[0], high=ends[1], log=log[name]) for name, ends in RANGES.items()}


def race(optimizer: str, rounds: int = 3, **how: Any) -> Iterator[str]:
    """Yield how many times as fast a study is as each rival: medians of rounds in which all do some trials in turn."""
    rivals = {
        "a hand-written loop": (by_hand(optimizer), 8),
        "a loop over a DataLoader": (by_hand(optimizer, loaders=True), 4),
        "Lightning": (by_lightning(optimizer), 4),
    }
    ratios: dict[str, list[float]] = {name: [] for name in rivals}
    for number in range(rounds + 1):
        before = {name: by_optuna(objective, trials) / trials for name, (objective, trials) in rivals.items()}
        own = by_study(optimizer, **how) / TRIALS
        after = {name: by_optuna(objective, trials) / trials for name, (objective, trials) in rivals.items()}
        for name, found in ratios.items():
            if number:  # the first time, torch makes things ready
                found.append((before[name] + after[name]) / 2 / own)
    for name, found in ratios.items():
        yield f"{statistics.median(found):5.1f} ({min(found):.1f} to {max(found):.1f}) times {name}"
    yield f"{own * 1e3:5.1f} ms a trial of {EPOCHS * SAMPLES // BATCH} steps"
