"""The database of earlier versions, and of later ones."""

import json
import sqlite3
from contextlib import closing

import pytest

import nbopt
from nbopt.record import schema
from nbopt.record.store import store_in
from nbopt.record.stored import read

# As version 1 wrote it. Not to be changed: users have such files.
VERSION_1 = """
CREATE TABLE schema (version INTEGER NOT NULL);
INSERT INTO schema VALUES (1);
CREATE TABLE runs (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, parent TEXT, created REAL NOT NULL, nbopt TEXT NOT NULL,
    settings TEXT NOT NULL, owner TEXT, state TEXT NOT NULL, reason TEXT NOT NULL, step INTEGER NOT NULL,
    epoch INTEGER NOT NULL, best REAL, entries INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE journal (
    run TEXT NOT NULL, number INTEGER NOT NULL, step INTEGER NOT NULL, name TEXT NOT NULL, old TEXT NOT NULL,
    new TEXT NOT NULL, source TEXT NOT NULL, time REAL NOT NULL, kind TEXT NOT NULL, PRIMARY KEY (run, number)
) WITHOUT ROWID;
CREATE TABLE history (
    run TEXT NOT NULL, name TEXT NOT NULL, chunk INTEGER NOT NULL, steps BLOB NOT NULL, numbers BLOB NOT NULL,
    PRIMARY KEY (run, name, chunk)
);
CREATE TABLE snapshots (
    run TEXT NOT NULL, kind TEXT NOT NULL, step INTEGER NOT NULL, entries INTEGER NOT NULL, file TEXT NOT NULL,
    bytes INTEGER NOT NULL, PRIMARY KEY (run, kind)
) WITHOUT ROWID;
INSERT INTO journal VALUES ('abcd1234', 0, 0, 'start', 'null', 'null', 'code', 1.5, 'event');
INSERT INTO journal VALUES ('abcd1234', 1, 1, 'lr', '0.1', '0.01', 'panel', 2.5, 'change');
INSERT INTO history VALUES ('abcd1234', 'loss', 0, x'00000000000000000100000000000000',
    x'000000000000f03f000000000000e03f');
"""


@pytest.fixture
def folder(tmp_path):
    """Return a store as version 1 wrote it."""
    settings = json.dumps({"initial": {"lr": 0.1}})
    row = ("abcd1234", "old", None, 1.0, "0.1.0", settings, None, "paused", "", 2, 0, None, 2)
    with closing(sqlite3.connect(tmp_path / schema.FILE)) as connection:
        connection.executescript(VERSION_1)
        connection.execute(f"INSERT INTO runs VALUES ({', '.join('?' * len(row))})", row)
        connection.commit()
    return tmp_path


def check(folder):
    record = read("abcd", folder)
    assert (record.name, record.state, record.hyperparams) == ("old", "paused", {"lr": 0.01})
    assert record.journal.changes()[0].source == "panel"
    assert record.history["loss"][1].tolist() == [1.0, 0.5]


def version_of(folder):
    with closing(sqlite3.connect(folder / schema.FILE)) as connection:
        return connection.execute("SELECT version FROM schema").fetchone()[0]


def tables_of(folder):
    with closing(sqlite3.connect(folder / schema.FILE)) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall()
    return {name: "".join(sql.split()) for name, sql in rows}


def test_version_1_can_be_read(folder):
    check(folder)
    assert len(nbopt.runs(folder)) == 1


def test_version_1_becomes_what_a_new_store_is(folder, tmp_path_factory):
    new = tmp_path_factory.mktemp("new") / "store"
    schema.connect(new).close()
    schema.connect(folder).close()
    assert version_of(folder) == version_of(new) == len(schema.MIGRATIONS)
    assert tables_of(folder) == tables_of(new)


def test_a_migration_changes_the_tables_and_keeps_what_they_hold(folder, monkeypatch):
    monkeypatch.setattr(
        schema,
        "MIGRATIONS",
        [
            *schema.MIGRATIONS,
            ("CREATE TABLE notes (run TEXT)", "INSERT INTO notes SELECT id FROM runs"),
            ("ALTER TABLE notes ADD COLUMN text TEXT NOT NULL DEFAULT 'none'",),
        ],
    )
    check(folder)
    assert version_of(folder) == len(schema.MIGRATIONS)
    with closing(sqlite3.connect(folder / schema.FILE)) as connection:
        assert connection.execute("SELECT * FROM notes").fetchall() == [("abcd1234", "none")]
    store_in(folder)
    assert version_of(folder) == len(schema.MIGRATIONS)


def test_a_migration_that_fails_leaves_all_as_it_was(folder, monkeypatch):
    before = tables_of(folder)
    with monkeypatch.context() as patch:
        patch.setattr(
            schema, "MIGRATIONS", [*schema.MIGRATIONS, ("CREATE TABLE notes (run TEXT)", "DROP TABLE nothing")]
        )
        with pytest.raises(sqlite3.OperationalError):
            schema.connect(folder)
    assert tables_of(folder) == before
    check(folder)


def test_a_later_version_is_refused_in_words(folder):
    with closing(sqlite3.connect(folder / schema.FILE)) as connection:
        connection.execute("UPDATE schema SET version = 99")
        connection.commit()
    with pytest.raises(schema.StoreError, match="written by a later nbopt"):
        nbopt.runs(folder)


def test_a_folder_that_cannot_be_written_can_be_read(folder, monkeypatch):
    def refuse(*_args):
        raise AssertionError("reading wrote")

    monkeypatch.setattr(schema, "connect", refuse)
    (folder / f"{schema.FILE}-wal").unlink(missing_ok=True)
    check(folder)
