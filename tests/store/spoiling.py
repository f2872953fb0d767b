"""Stores with garbage in one of their fields, or with files that are not as they were written.

As a script, ``python -m tests.store.spoiling [TRIES]`` tries thousands, and tells what was said of them.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sqlite3
import tempfile
import time
import warnings
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

import nbopt
from nbopt.errors import InvalidHyperparam
from nbopt.store import schema, writer
from nbopt.store.schema import StoreError
from tests.store.garbage import FIELDS, WAYS, ids_of

X = torch.linspace(-1, 1, 60)[:, None]
TOLD = (StoreError, InvalidHyperparam, FileNotFoundError, ValueError)
MOST_SECONDS = 20.0


def model():
    torch.manual_seed(0)
    return nn.Linear(1, 1)


def material():
    return model(), (X, X**2), (X, X**2)


def make_example(root, logged=False):
    """Return a store with two runs that nobody holds, and beside it what belongs to the user.

    With ``logged``, it is as a process leaves it that is killed: the newest rows stand in the write-ahead log.
    """
    folder = root / "project" / ".nbopt"
    for name in ("one", "two"):
        run = nbopt.Run(*material(), loss="mse", epochs=100, batch_size=20, name=name, store=folder)
        run.step(10)
        run.set(lr=0.01)
        run.step(5)
        run.stop()
        writer.flush()
        run.recorder.leave()
    (folder.parent / "thesis.ipynb").write_text("years of work")
    if logged:
        shutil.copytree(folder.parent, root / "left", ignore=shutil.ignore_patterns("locks"))
        return root / "left" / ".nbopt"
    schema.checkpoint(folder)
    with closing(sqlite3.connect(folder / schema.FILE)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("UPDATE runs SET owner = NULL")
        connection.commit()
        connection.execute("PRAGMA journal_mode = DELETE")
    return folder


def outside(folder):
    """Return what stands beside the store."""
    return {
        path.relative_to(folder.parent): path.read_bytes()
        for path in folder.parent.rglob("*")
        if path.is_file() and not path.is_relative_to(folder)
    }


# -- what has to hold


class Try(NamedTuple):
    """What was spoilt, whether anything was noticed, and the words that were said."""

    what: str
    noticed: bool
    words: list[str]


def try_spoilt_store(folder, seed):
    """Spoil a store, then list, read, open and clean it.

    Nothing beside it changes, what is wrong with a run is said in words, and hides no other run.
    """
    chance = random.Random(seed)
    one, two = ids_of(folder)
    before = outside(folder)
    what = chance.choice(WAYS)(folder, chance)
    in_a_row = what.split(".")[0] in FIELDS
    words: list[str] = []
    spoilt = False
    try:
        found = {line.id: line.state for line in nbopt.runs(folder)}
        repr(nbopt.runs(folder))
        if in_a_row:
            assert found[two] == "stopped", f"{what}: {found}"
        spoilt = "spoilt" in found.values()
    except StoreError as error:
        words.append(str(error))
    for run in (one, two):
        for arguments in ((), material()):
            try:
                opened = nbopt.open(run, *arguments, store=folder)
                if arguments and opened.step_count < 1000:
                    opened.step(2)
            except TOLD as error:
                words.append(f"{type(error).__name__}: {error}")
                assert run == one or not in_a_row, what
    try:
        nbopt.clean(keep=1, store=folder)
    except StoreError as error:
        words.append(str(error))
    assert outside(folder) == before, what
    return Try(what, spoilt or bool(words), words)


def try_one(example, place, seed):
    """Spoil a copy of the example made at ``place``, which is removed again."""
    shutil.copytree(example.parent, place / "project", ignore=shutil.ignore_patterns("locks"))
    began = time.monotonic()
    try:
        tried = try_spoilt_store(place / "project" / ".nbopt", seed)
        assert time.monotonic() - began < MOST_SECONDS
        return tried
    except BaseException as error:
        error.add_note(f"seed {seed}")
        raise
    finally:
        shutil.rmtree(place, ignore_errors=True)


def main(tries: int, first: int) -> None:
    torch.set_num_threads(1)
    noticed, failed = 0, 0
    said: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as root, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        examples = [make_example(Path(root) / f"example{logged}", bool(logged)) for logged in range(2)]
        for number in range(tries):
            seed = first + number
            try:
                tried = try_one(examples[number % 2], Path(root) / str(seed), seed)
                noticed += tried.noticed
                said.update("".join("0" if letter.isdigit() else letter for letter in w)[:110] for w in tried.words)
            except Exception as error:
                failed += 1
                print(f"seed {seed}: {type(error).__name__}: {str(error)[:300]}", flush=True)
            if number % 500 == 499:
                print(f"tried {number + 1}, noticed {noticed}, wrong {failed}", flush=True)
    for words, count in said.most_common():
        print(f"{count:6} {words}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("tries", type=int, nargs="?", default=1000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    main(**vars(parser.parse_args()))
