"""Processes that train a stored run, change it all the time and tell what is in its journal: to be killed.

`main` is a nursery: it forks a victim for each line "STORE SEED RUN KIND" that it reads, and tells when it is dead. The
other functions are for whoever kills them.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import nbopt
from nbopt.record.journal import Entry
from nbopt.store.reading import read
from nbopt.training import core
from nbopt.training.many import compiled as many
from nbopt.training.step import mode
from tests import zygote
from tests.run.population import victim as population

STEPS_MORE = 150
OPTIONS = {
    "lr": [1e-4, 3e-4, 1e-3, 3e-3],
    "batch_size": [8, 16, 20, 64],
    "dropout": [0.0, 0.1, 0.5],
    "weight_decay": [0.0, 1e-3],
    "optimizer": ["adam", "sgd", "adamw"],
    "l1": [0.0, 1e-4],
    "precision": ["float32", "bfloat16", "float16"],
    "schedule": ["constant", "cosine", "plateau"],
}


COMPRESSION = [
    {"weight_bits": 4, "codebook": 0, "step_size_rate": 0.0},
    {"weight_bits": 2, "codebook": 0, "step_size_rate": 0.1},
    {"weight_bits": 0, "codebook": 8, "step_size_rate": 0.0},
    {"activation_bits": 4},
    {"activation_bits": 0},
    {"sparsity": 0.5, "sparsity_pattern": "neurons"},
    {"group_lasso": 0.01},
]

KINDS = ("plain", "early stopping", "workers", "compiled", "two runs", "two processes", "few bits", "compiled bits")
"""What victims do beside being steered. Each is validated at each epoch's end."""


def compile_at_once(put=setattr):
    """Take chunks for compiled as they are: a compiler takes longer than a victim lives."""
    from nbopt.training.compile.background import BackgroundCompile
    from nbopt.training.compile.build import Build

    put(Build, "compile", lambda self, chunk, example: chunk)
    put(BackgroundCompile, "start", BackgroundCompile.run)
    put(core, "_LOOK_SECONDS", -1.0)
    put(many, "_LOOK_SECONDS", -1.0)
    put(mode, "_WATCHED_SECONDS", 0.0)
    put(mode, "_fitting", lambda speed: 2)


def material():
    """Return a model, always with the same weights, and its data."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(400) % 3
    x = torch.randn(400, 6, generator=generator) + nn.functional.one_hot(y, 6)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Dropout(0.1), nn.Linear(24, 3))
    return model, (x[:300], y[:300]), (x[300:], y[300:])


def settings_of(kind):
    """Return what a run of this kind is made with, beside its model."""
    _model, train, val = material()
    settings = {"metrics": ["accuracy"], "epochs": 10**6, "batch_size": 16}
    if kind == "early stopping":
        settings |= {"early_stopping": True, "patience": 1000, "schedule": "plateau"}
    if kind == "few bits":
        settings |= {"weight_bits": 4, "activation_bits": 8}
    if kind in ("compiled", "compiled bits"):
        settings |= {"tier": "compiled"}
    if kind == "compiled bits":
        settings |= {"weight_bits": 4}
    if kind == "workers":
        train = DataLoader(TensorDataset(*train), batch_size=16, shuffle=True, num_workers=1)
        del settings["batch_size"]
    return (train, val), settings


def new_run(store, kind="plain"):
    data, settings = settings_of(kind)
    return nbopt.Run(material()[0], *data, **settings, store=store)


def open_run(store, run, kind="plain"):
    return nbopt.open(run, material()[0], *settings_of(kind)[0], store=store)


def weights(run):
    return torch.cat([value.detach().flatten() for value in run.model.state_dict().values()])


class Outcome(NamedTuple):
    run: str
    told: list[Entry]  # what was in the journal, as the victim told before it died


class Nursery:
    """Makes victims, and kills them."""

    def __init__(self) -> None:
        self._process = zygote.Process("from tests.run import victim; victim.main()")

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.end()

    def start(self, store: Path, seed: int, run: str = "", kind: str = "plain") -> tuple[str, int]:
        """Start a victim; return its run and its process once it trains."""
        print(store, seed, run or "-", kind, file=self._process.stdin, flush=True)
        run, process = self._process.stdout.readline().split()
        return run, int(process)

    def kill(self, process: int) -> list[Entry]:
        """Kill a victim; return what it told of its journal."""
        os.kill(process, signal.SIGKILL)
        told = []
        for line in iter(self._process.stdout.readline, "dead\n"):
            assert line, "the victims' nursery ended"
            told.append(Entry(*json.loads(line)))
        return told

    def kill_one(self, store: Path, seed: int, run: str = "", seconds: float = 1.0, kind: str = "plain") -> Outcome:
        """Start a victim, and kill it up to ``seconds`` after it began to train."""
        run, process = self.start(store, seed, run, kind)
        time.sleep(random.Random(seed).uniform(0, seconds))
        return Outcome(run, self.kill(process))


def lost_entries(store: Path, outcome: Outcome) -> int:
    """Return how many entries that the victim told of are not stored."""
    record = read(outcome.run, store)
    stored = record.ledger or list(record.journal)
    return sum(entry not in stored for entry in outcome.told)


def ends_as_unbroken(store: Path, run: str, kind: str = "plain") -> bool:
    """Go on with a run that was killed, and compare it with one that does the same without a break."""
    if kind in population.TIERS:
        return population.ends_as_unbroken(store, run, kind)
    resumed = open_run(store, run, kind)
    resumed.step(STEPS_MORE)
    unbroken = new_run(None, kind)
    unbroken.events()
    unbroken.training.tiers.held_until = resumed.step_count
    unbroken.changes.plan(resumed.journal.schedule())
    unbroken.step(resumed.step_count)
    losses = [run.history["loss"][1].tolist() for run in (resumed, unbroken)]
    return torch.equal(weights(resumed), weights(unbroken)) and losses[0] == losses[1]


def be_victim(
    store: str,
    seed: str,
    run_id: str = "",
    kind: str = "plain",
    out: int = 1,
    show: Callable[[Any], Any] | None = None,
) -> None:
    """Train and steer a run for ever, telling ``out`` of each entry of its journal."""
    if kind in population.TIERS:
        population.be_victim(store, seed, run_id, kind, out, show)
    chance = random.Random(seed)
    run = open_run(store, run_id, kind) if run_id else new_run(store, kind)
    if kind == "two runs":
        other = new_run(store)
        other.start()
    if show is not None:
        show(run)
    run.start()
    os.write(out, f"{run.id} {os.getpid()}\n".encode())
    told = 0
    while True:
        time.sleep(chance.uniform(0, 0.03))
        if chance.random() < 0.05:
            run.rewind(chance.randint(max(0, run.step_count - 300), run.step_count - 1))
            run.start()
        elif kind == "compiled bits" and chance.random() < 0.5:
            run.set(weight_bits=chance.choice([0, 2, 4, 8]))
        elif kind == "few bits" and chance.random() < 0.5:
            with suppress(nbopt.errors.InvalidHyperparam):  # some do not go together with others
                run.set(**chance.choice(COMPRESSION))
        else:
            name = chance.choice(list(OPTIONS))
            with suppress(nbopt.errors.InvalidHyperparam):
                run.set(**{name: chance.choice(OPTIONS[name])})
        for entry in run.journal[told:]:
            told += 1
            os.write(out, f"{json.dumps(entry)}\n".encode())  # a whole line or nothing


def main() -> None:
    torch.set_num_threads(1)
    compile_at_once()
    for line in sys.stdin:
        if (child := os.fork()) == 0:
            try:
                store, seed, run, kind = line.rstrip("\n").split(" ", 3)
                be_victim(store, seed, "" if run == "-" else run, kind)
            finally:
                os._exit(1)  # victims do not end by themselves
        _process, status = os.waitpid(child, 0)
        print("dead" if os.WTERMSIG(status) == signal.SIGKILL else "ended by itself", flush=True)
