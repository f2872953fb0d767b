"""Ways to spoil a store: garbage in a field, within JSON or a snapshot's facts, bits flipped, files cut."""

from __future__ import annotations

import json
import pickle
import sqlite3
import struct
from contextlib import closing
from typing import Any

from nbopt.store import schema

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


def ids_of(folder):
    with closing(sqlite3.connect(f"{(folder / schema.FILE).as_uri()}?mode=ro", uri=True)) as connection:
        return [row[0] for row in connection.execute("SELECT id FROM runs ORDER BY created")]


def change(folder, statement, *values):
    with closing(sqlite3.connect(folder / schema.FILE)) as connection:
        connection.execute(statement, values)
        connection.commit()


# -- ways to spoil


def spoil_field(folder, chance):
    """Put garbage into one field of the first run."""
    table = chance.choice(list(FIELDS))
    field = chance.choice(FIELDS[table].split())
    with closing(sqlite3.connect(folder / schema.FILE)) as connection:
        where = one_row(connection, table, chance)
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
        where = one_row(connection, table, chance)
        (text,) = connection.execute(f"SELECT {field} FROM {table} WHERE {where}").fetchone()
        spoilt = json.dumps(with_another_value(json.loads(text), chance))
        connection.execute(f"UPDATE {table} SET {field} = ? WHERE {where}", (spoilt,))
        connection.commit()
    return f"{table}.{field} within"


def spoil_facts(folder, chance):
    """Put another value somewhere into what a snapshot holds beside its tensors."""
    path = chance.choice(sorted((folder / "snapshots" / ids_of(folder)[0]).iterdir()))
    _facts, rewrite = facts_of(path)
    rewrite(lambda head: with_another_value(head, chance))
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
    path = any_file(folder, chance)
    content = bytearray(path.read_bytes())
    for _count in range(chance.choice([1, 1, 8])):
        bit = chance.randrange(8 * len(content))
        content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    return path.name


def spoil_file(folder, chance):
    """Cut one of the store's files off, put something else in its place, or remove it."""
    path = any_file(folder, chance)
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
            "pickle": pickle.dumps(Bomb()),
            "another": any_file(folder, chance).read_bytes(),
        }[way]
    )
    return f"{path.name} {way}"


class Bomb:
    """Unpickled, it ends the process."""

    def __reduce__(self) -> Any:
        import os

        return os._exit, (7,)


WAYS = [spoil_field, spoil_field, spoil_json, spoil_facts, flip_bits, flip_bits, spoil_file]


def one_row(connection, table, chance):
    key = "id" if table == "runs" else "run"
    where = f"{key} = (SELECT id FROM runs ORDER BY created LIMIT 1)"
    if own := {"journal": "number", "snapshots": "kind", "history": "rowid"}.get(table):
        found = connection.execute(f"SELECT {own} FROM {table} WHERE {where} ORDER BY {own}").fetchall()
        where += f" AND {own} = {chance.choice(found)[0]!r}"
    return where


def any_file(folder, chance):
    return chance.choice(sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size))


def with_another_value(value, chance):
    """Return a JSON value in which something, anywhere, is another one."""
    if not isinstance(value, (dict, list)) or not value or chance.random() < 0.15:
        return chance.choice(VALUES)
    if isinstance(value, list):
        at = chance.randrange(len(value))
        return [*value[:at], with_another_value(value[at], chance), *value[at + 1 :]]
    key = chance.choice(list(value))
    if chance.random() < 0.1:
        return {name: own for name, own in value.items() if name != key}
    return value | {key: with_another_value(value[key], chance)}
