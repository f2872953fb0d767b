"""Interrupts that come between any two lines of nbopt, and what has to hold after them.

As a script, ``python -m tests.run.interrupts [TRIES]`` tries thousands.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import random
import tempfile
import threading
import time
import warnings
from pathlib import Path

import torch
from torch import nn

import nbopt
from nbopt.run.session.registry import live_runs
from nbopt.store import writer
from nbopt.store.reading import read
from tests.run.between_lines import Interrupt

SLOW_SECONDS = 20.0


def material():
    """Return a model with noise and counters of its own, and its data."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(60) % 3
    x = torch.randn(60, 4, generator=generator) + nn.functional.one_hot(y, 4)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))
    return model, (x, y), (x[:20], y[:20])


def make(store):
    settings = {"metrics": ["accuracy"], "epochs": 1000, "batch_size": 8, "schedule": "cosine"}
    return nbopt.Run(*material(), store=store, **settings)


def fit(run):
    with contextlib.redirect_stderr(io.StringIO()):
        run.fit()


def while_it_runs(call):
    """Return a call that has the run train in its own thread meanwhile."""

    def called(run):
        run.start()
        call(run)
        run.pause()

    return called


def look(run):
    with run.at_rest():
        run.model.eval()
        run.model(run.spec.train[0])


def predict(run):
    run.predict(run.spec.train[0])


def go_on(run):
    """Open the run again, as who lost it would: from now on another object stores it."""
    model, *data = material()
    nbopt.open(run.id, model, *data, store=run.store).step(3)


def widen(run):
    run.edit(nbopt.Widen("0", by=3))


CALLS = {
    "step": lambda run: run.step(3),
    "set": lambda run: run.set(lr=2e-3, dropout=0.5),
    "set optimizer": lambda run: run.set(optimizer="sgd"),
    "set loss": lambda run: run.set(label_smoothing=0.1),
    "rewind": lambda run: run.rewind(7),
    "rewind to the beginning": lambda run: run.rewind(0),
    "events": lambda run: [next(events) for events in [run.events()] for _count in range(12)],
    "branch": lambda run: run.branch(9),
    "replay": lambda run: run.replay().wait(30),
    "find_lr": lambda run: run.find_lr(steps=10),
    "pause": lambda run: (run.start(), run.pause()),
    "stop": lambda run: (run.start(), run.stop()),
    "to_python": lambda run: run.to_python(),
    "to_yaml": lambda run: run.to_yaml(),
    "runs": lambda run: nbopt.runs(run.store),
    "open": lambda run: nbopt.open(run.id, store=run.store),
    "fit": fit,
    "resume": lambda run: (run.resume(), run.wait(0.01), run.pause()),
    "set while it runs": while_it_runs(lambda run: run.set(lr=2e-3, dropout=0.5)),
    "predict": predict,
    "predict while it runs": while_it_runs(predict),
    "at_rest": look,
    "at_rest while it runs": while_it_runs(look),
    "release_workers": lambda run: run.release_workers(),
    "make": lambda run: make(run.store).set(lr=0.1),
    "from_yaml": lambda run: nbopt.Run.from_yaml(run.to_yaml(), *material(), store=None),
    "clean": lambda run: nbopt.clean(keep=1, store=run.store),
    "open to go on": go_on,
    "edit": widen,
    "edit while it runs": while_it_runs(widen),
    "rewind over an edit": lambda run: run.rewind(7),
    "branch of an edited run": lambda run: run.branch(12),
}


def lines_of(name, store):
    """Return how many lines a call comes by."""
    run = prepared(store, name)
    with Interrupt(10**9) as counter:
        CALLS[name](run)
    run.stop()
    return 10**9 - counter.left


def prepared(store, name, chance=None):
    """Return a run in the middle of its life."""
    run = make(store)
    if "edit" in name:  # which only a branch can be
        run.step(1)
        run = run.branch(1)
    if name == "fit":
        run.set(epochs=3)
    if (
        chance is None
        or name not in ("step", "set", "set optimizer", "events", "to_python", "fit")
        or chance.random() < 0.85
    ):
        run.step(10)
        run.set(lr=3e-3)
        if "edited" in name or "over" in name:
            widen(run)
        run.step(5)
    return run


def is_free(lock):
    """Whether another thread can take a lock."""
    free = []

    def take():
        if lock.acquire(timeout=5):
            lock.release()
            free.append(True)

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    return bool(free)


def weights(run):
    return torch.cat([value.detach().flatten().double() for value in run.model.state_dict().values()])


def taken_up(run):
    """Open a run again, wherever an interrupt left who opened it."""
    for other in live_runs():
        if other.id == run.id and other.worker.is_pulling:
            other.pause()
    model, *data = material()
    return nbopt.open(run.id, model, *data, store=run.store)


def unbroken(run):
    """Return a run that does what the journal tells, without a break."""
    twin = make(None)
    if run.hyperparams["epochs"] == 3:
        twin.set(epochs=3)
    operations = [op for op in run.journal.schedule() if op.name != "epochs"]
    twin.changes.plan(operations)
    if run.step_count:
        twin.step(run.step_count)
    twin.changes.apply() if run.step_count else None
    return twin


def try_one(name, at, store, chance):
    """Interrupt a call before its line number ``at``, and check that all agrees and goes on; return where it was."""
    run = prepared(store, name, chance)
    with Interrupt(at) as interrupt:
        try:
            CALLS[name](run)
        except KeyboardInterrupt:
            pass
    if run.worker.is_pulling:  # it was started before
        run.pause()
    if name == "open to go on":
        run = taken_up(run)
    locks = [run.lock, run.journal.lock]
    if run.recorder._store is not None:
        locks.append(run.recorder._store.lock)
    assert all(is_free(lock) for lock in locks), f"a lock is still held ({interrupt.where})"
    if run.state.value != "finished":  # as anybody would go on
        run.set(weight_decay=1e-3)
        run.step(4)
    twin = unbroken(run)
    assert run.step_count == twin.step_count, f"{run.step_count} {twin.step_count} ({interrupt.where})"
    assert torch.equal(weights(run), weights(twin)), f"other weights ({interrupt.where})"
    assert run.history["loss"][1].tolist() == twin.history["loss"][1].tolist(), f"other losses ({interrupt.where})"
    assert dict(run.hyperparams) == dict(twin.hyperparams) | {"epochs": run.hyperparams["epochs"]}, interrupt.where
    writer.flush()
    record = read(run.id, store)
    assert list(record.journal) == list(run.journal), f"another journal is stored ({interrupt.where})"
    assert record.history["loss"][1].tolist() == run.history["loss"][1].tolist(), f"history stored ({interrupt.where})"
    with run.recorder._store.lock:
        assert not run.recorder._store._connection.in_transaction
    run.stop()
    return interrupt.where


def main(tries: int, first: int, names: list[str]) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    failed: dict[str, int] = {}
    done = 0
    names = names or list(CALLS)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # a writer may be at work still
        lines = {name: lines_of(name, Path(folder) / "lines") for name in names}
        for number in range(first, first + tries):
            chance = random.Random(number)
            name = chance.choice(names)
            at = chance.randint(1, lines[name])
            began = time.monotonic()
            try:
                done += bool(try_one(name, at, Path(folder) / f"store{number // 50}", chance))
            except Exception as error:
                text = f"{name}: {type(error).__name__}: {error}"
                failed[text] = failed.get(text, 0) + 1
                print(number, at, text[:300], flush=True)
            if (seconds := time.monotonic() - began) > SLOW_SECONDS:
                print(f"{number} {name} {at}: {seconds:.0f} s", flush=True)
            if (number - first) % 100 == 99:
                tried = number - first + 1
                print(f"{tried} tried, {done} interrupted and right, {sum(failed.values())} failed", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("tries", type=int, nargs="?", default=1000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--only", nargs="*", default=[], choices=CALLS, help="calls to interrupt")
    arguments = parser.parse_args()
    main(arguments.tries, arguments.first, arguments.only)
