"""128 trials of the small MLP (lr, weight decay, dropout): by a study, by Optuna and loops: see `study.py`, ``--race``.

All train the same number of epochs, are validated after each, and are judged by their last validation loss.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable
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


def by_hand(optimizer: str, loaders: bool = False) -> Callable[[optuna.Trial], float]:
    """Return an objective as anybody would write it: a loop over tensors in memory, or over a ``DataLoader``."""
    (x, y), (x_val, y_val) = make_data()
    loader = DataLoader(TensorDataset(x, y), batch_size=BATCH, shuffle=True)

    def slices() -> Any:
        order = torch.randperm(len(x))
        for at in range(0, len(x), BATCH):
            yield x[order[at : at + BATCH]], y[order[at : at + BATCH]]

    def objective(trial: optuna.Trial) -> float:
        given = suggest(trial)
        model = make_model(given["dropout"])
        own = OPTIMIZERS[optimizer](model.parameters(), lr=given["lr"], weight_decay=given["weight_decay"])
        loss = torch.tensor(0.0)
        for _epoch in range(EPOCHS):
            model.train()
            for batch, labels in loader if loaders else slices():
                own.zero_grad()
                functional.cross_entropy(model(batch), labels).backward()
                own.step()
            model.eval()
            with torch.no_grad():
                loss = functional.cross_entropy(model(x_val), y_val)
        return float(loss)

    return objective


def by_lightning(optimizer: str) -> Callable[[optuna.Trial], float]:
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


def by_optuna(objective: Callable[[optuna.Trial], float], trials: int) -> float:
    """Return the seconds of processor time that Optuna's random search takes."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    began = time.process_time()
    optuna.create_study(sampler=optuna.samplers.RandomSampler(0)).optimize(objective, n_trials=trials)
    return time.process_time() - began


def by_study(optimizer: str, trials: int, **how: Any) -> tuple[float, nbopt.Study]:
    """Return the seconds of processor time that a study takes, and the study."""
    train, val = make_data()
    space = {
        name: nbopt.Float(ends[0], low=ends[0], high=ends[1], log=name != "dropout") for name, ends in RANGES.items()
    }
    given: dict[str, Any] = {"sampler": "random", "executor": "population", "store": None, **how}
    began = time.process_time()
    study = nbopt.Study(
        make_model(),
        train,
        val,
        space=space,
        optimizer=optimizer,
        epochs=EPOCHS,
        batch_size=BATCH,
        trials=trials,
        **given,
    ).fit()
    return time.process_time() - began, study
