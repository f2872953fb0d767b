"""The database of earlier versions, and of later ones."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import torch
from torch import nn

import nbopt
from nbopt.store import schema
from nbopt.store.database import store_in
from nbopt.store.reading import read

# A run as version 1 stored it. Not to be changed: users have such files.
VERSION_1 = Path(__file__).parent / "version_1"
X = torch.arange(60.0)[:, None] / 64


@pytest.fixture
def folder(tmp_path):
    """Return a store as version 1 wrote it."""
    with closing(sqlite3.connect(tmp_path / schema.FILE)) as connection:
        connection.executescript((VERSION_1 / "store.sql").read_text())
    shutil.copytree(VERSION_1 / "snapshots", tmp_path / "snapshots")
    return tmp_path


def check(folder):
    record = read("abcd", folder)
    assert (record.name, record.state, record.step) == ("version 1", "paused", 9)
    assert (record.hyperparams["lr"], record.hyperparams["momentum"]) == (0.05, 0.5)
    assert [entry.name for entry in record.journal.changes()] == ["lr", "batch_size", "momentum"]
    assert len(record.history["loss"][1]) == 9 and record.history.last("loss") == pytest.approx(0.02176, abs=1e-4)
    assert record.snapshot("best").step == 8


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


@pytest.mark.filterwarnings("ignore:not exact")  # not on this machine
@pytest.mark.usefixtures("one_torch_thread")
def test_a_run_of_version_1_goes_on(folder):
    run = nbopt.open("abcd", nn.Linear(1, 1), (X, X**2), (X, X**2), store=folder)
    assert (run.step_count, run.hyperparams["lr"], run.hyperparams["batch_size"]) == (9, 0.05, 30)
    again = run.replay()
    again.wait(60)
    assert torch.equal(again.model.weight, run.model.weight)
    run.step(3)
    record = read("abcd", folder)
    assert list(record.journal) == list(run.journal)
    assert len(record.history["loss"][1]) == 12


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
    assert version_of(folder) == 1  # what is read is left as it is
    schema.connect(folder).close()
    assert version_of(folder) == len(schema.MIGRATIONS)
    with closing(sqlite3.connect(folder / schema.FILE)) as connection:
        assert connection.execute("SELECT * FROM notes").fetchall() == [("abcd1234", "none")]
    check(folder)
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
