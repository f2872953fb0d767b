"""A process that trains a stored run, changes it all the time and tells what is in its journal: to be killed.

Run as a script: STORE SEED [RUN]. The other functions are for whoever kills it.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

import nbopt
from nbopt.record.journal import Entry
from nbopt.record.stored import read

STEPS_MORE = 150
OPTIONS = {
    "lr": [1e-4, 3e-4, 1e-3, 3e-3],
    "batch_size": [8, 16, 20, 64],
    "dropout": [0.0, 0.1, 0.5],
    "weight_decay": [0.0, 1e-3],
    "optimizer": ["adam", "sgd", "adamw"],
    "l1": [0.0, 1e-4],
}


def material():
    """Return a model, always with the same weights, and its data."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(400) % 3
    x = torch.randn(400, 6, generator=generator) + nn.functional.one_hot(y, 6)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Dropout(0.1), nn.Linear(24, 3))
    return model, (x[:300], y[:300]), (x[300:], y[300:])


def new_run(store):
    return nbopt.Run(*material(), metrics=["accuracy"], epochs=10**6, batch_size=16, store=store)


def weights(run):
    return torch.cat([value.detach().flatten() for value in run.model.state_dict().values()])


def environment():
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


class Outcome(NamedTuple):
    run: str
    told: list[Entry]  # what was in the journal, as the victim told before it died


def kill_one(store: Path, seed: int, run: str = "", seconds: float = 1.0) -> Outcome:
    """Start a victim, and kill it up to ``seconds`` after it began to train."""
    command = [sys.executable, str(Path(__file__)), str(store), str(seed), *([run] if run else [])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as victim:
        assert victim.stdout is not None
        first = victim.stdout.readline()
        time.sleep(random.Random(seed).uniform(0, seconds))
        victim.send_signal(signal.SIGKILL)
        lines = victim.stdout.readlines()
    assert victim.returncode == -signal.SIGKILL, f"the victim ended by itself: {first}{lines}"
    return Outcome(first.strip(), [Entry(*json.loads(line)) for line in lines if line.endswith("\n")])


def lost_entries(store: Path, outcome: Outcome) -> int:
    """Return how many entries that the victim told of are not stored."""
    stored = list(read(outcome.run, store).journal)
    return sum(entry not in stored for entry in outcome.told)


def ends_as_unbroken(store: Path, run: str) -> bool:
    """Go on with a run that was killed, and compare it with one that does the same without a break."""
    resumed = nbopt.open(run, *material(), store=store)
    resumed.step(STEPS_MORE)
    unbroken = new_run(None)
    unbroken.changes.plan(resumed.journal.schedule())
    unbroken.step(resumed.step_count)
    losses = [run.history["loss"][1].tolist() for run in (resumed, unbroken)]
    return torch.equal(weights(resumed), weights(unbroken)) and losses[0] == losses[1]


def main(store: str, seed: str, run_id: str = "") -> None:
    torch.set_num_threads(1)
    chance = random.Random(seed)
    run = nbopt.open(run_id, *material(), store=store) if run_id else new_run(store)
    run.start()
    print(run.id, flush=True)
    told = 0
    while True:
        time.sleep(chance.uniform(0, 0.03))
        if chance.random() < 0.05:
            run.rewind(chance.randint(max(0, run.step_count - 300), run.step_count - 1))
            run.start()
        else:
            name = chance.choice(list(OPTIONS))
            run.set(**{name: chance.choice(OPTIONS[name])})
        for entry in run.journal[told:]:
            told += 1
            print(json.dumps(entry), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
