"""Stores with garbage in one of their fields, or with files that are not as they were written.

As a script, ``python -m tests.store.spoiling [TRIES]`` tries thousands, and tells what was said of them.
"""

from __future__ import annotations

import argparse
import json
import pickle
import random
import shutil
import sqlite3
import struct
import tempfile
import time
import warnings
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

import nbopt
from nbopt.errors import InvalidHyperparam
from nbopt.store import schema, writer
from nbopt.store.schema import StoreError

X = torch.linspace(-1, 1, 60)[:, None]
FIELDS = {
    "runs": "name parent created nbopt settings owner state reason step epoch best entries",
    "journal": "number step name old new source time kind",
    "history": "name chunk steps numbers",
    "snapshots": "kind step entries file bytes",
}
GARBAGE = [None, 0, -1, 1, 2**53, 2**63 - 1, 1e18, -1e18, float("inf"), "", "x", "a" * 10**6, "\0", b"", b"\xff" * 9]
GARBAGE += ["../../x", "/etc/passwd", "null", "NaN", "[]", "{}", '{"a": 1}', "[[[[", "1e999", "9" * 5000, "[" * 10**5]
VALUES = [None, True, 0, -1, 1, 2**31, 2**63, 10**400, 1e308, float("nan"), float("-inf"), "", "x", "../../x"]
VALUES += ["\udc80", [], {}, [None], [[1], [2]], {"a": 1}, {"tensor": "x"}, {"tuple": [1]}, {"dict": [[1, 2]]}]
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


def ids_of(folder):
    with closing(sqlite3.connect(f"{(folder / schema.FILE).as_uri()}?mode=ro", uri=True)) as connection:
        return [row[0] for row in connection.execute("SELECT id FROM runs ORDER BY created")]


def change(folder, statement, *values):
    with closing(sqlite3.connect(folder / schema.FILE)) as connection:
        connection.execute(statement, values)
        connection.commit()


def outside(folder):
    """Return what stands beside the store."""
    return {
        path.relative_to(folder.parent): path.read_bytes()
        for path in folder.parent.rglob("*")
        if path.is_file() and not path.is_relative_to(folder)
    }


# -- ways to spoil


def spoil_field(folder, chance):
    """Put garbage into one field of the first run."""
    table = chance.choice(list(FIELDS))
    field = chance.choice(FIELDS[table].split())
    with closing(sqlite3.connect(folder / schema.FILE)) as connection:
        where = _one_row(connection, table, chance)
        try:
            connection.execute(f"UPDATE {table} SET {field} = ? WHERE {where}", (chance.choice(GARBAGE),))
            connection.commit()
        except (sqlite3.Error, OverflowError):
            pass  # sqlite itself does not take it
    return f"{table}.{field}"


def spoil_json(folder, chance):
    """Put another value somewhere into one of the JSON texts of the first run."""
    table, field = chance.choice([("runs", "settings"), ("runs", "settings"), ("journal", "new"), ("journal", "old")])
    with closing(sqlite3.connect(folder / schema.FILE)) as connection:
        where = _one_row(connection, table, chance)
        (text,) = connection.execute(f"SELECT {field} FROM {table} WHERE {where}").fetchone()
        spoilt = json.dumps(_with_another_value(json.loads(text), chance))
        connection.execute(f"UPDATE {table} SET {field} = ? WHERE {where}", (spoilt,))
        connection.commit()
    return f"{table}.{field} within"


def spoil_facts(folder, chance):
    """Put another value somewhere into what a snapshot holds beside its tensors."""
    path = chance.choice(sorted((folder / "snapshots" / ids_of(folder)[0]).iterdir()))
    _facts, rewrite = facts_of(path)
    rewrite(lambda head: _with_another_value(head, chance))
    return "snapshots within"


def facts_of(path):
    """Return the facts of a snapshot's file, and what writes the file again, without its checksum."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    outer = json.loads(content[8 : 8 + length])
    texts = outer["__metadata__"]
    head = json.loads(texts["nbopt"])

    def rewrite(change=lambda head: head):
        texts.pop("checksum", None)
        texts["nbopt"] = json.dumps(change(head))
        spoilt = json.dumps(outer).encode()
        path.write_bytes(struct.pack("<Q", len(spoilt)) + spoilt + content[8 + length :])

    return head["facts"], rewrite


def flip_bits(folder, chance):
    """Flip bits in one of the store's files."""
    path = _any_file(folder, chance)
    content = bytearray(path.read_bytes())
    for _count in range(chance.choice([1, 1, 8])):
        bit = chance.randrange(8 * len(content))
        content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    return path.name


def spoil_file(folder, chance):
    """Cut one of the store's files off, put something else in its place, or remove it."""
    path = _any_file(folder, chance)
    content = path.read_bytes()
    way = chance.choice(["cut", "doubled", "zeros", "pickle", "another", "gone"])
    if way == "gone":
        path.unlink()
        return f"{path.name} {way}"
    path.write_bytes(
        {
            "cut": content[: chance.randrange(len(content))],
            "doubled": content * 2,
            "zeros": bytes(len(content)),
            "pickle": pickle.dumps(_Bomb()),
            "another": _any_file(folder, chance).read_bytes(),
        }[way]
    )
    return f"{path.name} {way}"


class _Bomb:
    """Unpickled, it ends the process."""

    def __reduce__(self) -> Any:
        import os

        return os._exit, (7,)


WAYS = [spoil_field, spoil_field, spoil_json, spoil_facts, flip_bits, flip_bits, spoil_file]


def _one_row(connection, table, chance):
    key = "id" if table == "runs" else "run"
    where = f"{key} = (SELECT id FROM runs ORDER BY created LIMIT 1)"
    if own := {"journal": "number", "snapshots": "kind", "history": "rowid"}.get(table):
        found = connection.execute(f"SELECT {own} FROM {table} WHERE {where} ORDER BY {own}").fetchall()
        where += f" AND {own} = {chance.choice(found)[0]!r}"
    return where


def _any_file(folder, chance):
    return chance.choice(sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size))


def _with_another_value(value, chance):
    """Return a JSON value in which something, anywhere, is another one."""
    if not isinstance(value, (dict, list)) or not value or chance.random() < 0.15:
        return chance.choice(VALUES)
    if isinstance(value, list):
        at = chance.randrange(len(value))
        return [*value[:at], _with_another_value(value[at], chance), *value[at + 1 :]]
    key = chance.choice(list(value))
    if chance.random() < 0.1:
        return {name: own for name, own in value.items() if name != key}
    return value | {key: _with_another_value(value[key], chance)}


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
