"""The room a store takes, and where it cannot be written."""

import shutil
import sqlite3
from contextlib import closing
from datetime import timedelta

import pytest
import torch

import nbopt
from nbopt.store import database, recorder, schema, writer
from nbopt.store.database import store_in
from nbopt.store.reading import read
from tests.store.runs_of import events_of, same_history

# -- cleaning up


def test_clean_deletes_the_old_ones_and_all_that_is_theirs(make_run, tmp_path):
    store = tmp_path / "store"
    for _count in range(3):
        make_run().step(3)
    ids = [line.id for line in nbopt.runs(store)]
    assert nbopt.clean(keep=1, store=store) == []  # all of them are open here
    with closing(sqlite3.connect(store / schema.FILE)) as other:
        other.execute("UPDATE runs SET owner = 'dead' WHERE id != ?", (ids[1],))
        other.commit()
    assert nbopt.clean(keep=2, older_than=timedelta(days=1), store=store) == []
    assert [line.id for line in nbopt.clean(keep=1, store=store)] == ids[:1]
    assert [line.id for line in nbopt.clean(older_than=0, store=store)] == ids[2:]
    assert [line.id for line in nbopt.runs(store)] == [ids[1]]
    assert [path.name for path in (store / "snapshots").iterdir()] == [ids[1]]
    with closing(sqlite3.connect(store / schema.FILE)) as other:
        for table in ("journal", "history", "snapshots"):
            assert {row[0] for row in other.execute(f"SELECT DISTINCT run FROM {table}")} == {ids[1]}


def test_clean_leaves_a_run_that_is_opened_at_this_moment(make_run, monkeypatch):
    run = make_run()
    run.step()
    store = store_in(run.store)
    with closing(sqlite3.connect(run.store / schema.FILE)) as other:
        other.execute("UPDATE runs SET owner = 'dead'")
        other.commit()
    connect = schema.connect
    monkeypatch.setattr(schema, "connect", lambda folder: (store.claim(run.id, "dead"), connect(folder))[1])
    assert nbopt.clean(keep=0, store=run.store) == []
    assert len(read(run.id, run.store).journal) == len(run.journal)


def test_a_run_that_was_let_go_of_meanwhile_can_be_opened_by_its_own_process_alone(make_run):
    run = make_run()
    run.step()
    store, own = store_in(run.store), read(run.id, run.store).owner
    store.let_go(run.id)  # as the writer's thread does once a run is closed
    assert not store.claim(run.id, "another process")
    assert store.claim(run.id, own)


def test_a_run_whose_store_was_closed_meanwhile_can_be_opened_by_its_own_process(make_run):
    """Between reading and claiming it, the last writer of a store may have let go of it, and another one be opened."""
    run = make_run()
    run.step()
    folder, own = run.store, read(run.id, run.store).owner
    run.recorder.release("opened elsewhere")
    store_in(folder).let_go(run.id)
    store_in(folder).close()
    del database._stores[folder]
    again = store_in(folder)
    assert not again.claim(run.id, "another process")
    assert again.claim(run.id, own)


def test_clean_wants_to_know_how_much(tmp_path):
    with pytest.raises(ValueError, match="say which runs may go"):
        nbopt.clean(store=tmp_path)
    assert nbopt.clean(keep=0, store=tmp_path) == []


# -- the room it takes


def size_of(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_the_size_told_is_the_room_taken(make_run):
    run = make_run(metrics=["mae"])
    run.step(2000)
    told = nbopt.runs(run.store)[0].bytes
    schema.checkpoint(run.store)
    database = (run.store / schema.FILE).stat().st_size + size_of(run.store / "snapshots")
    assert 0.5 * database < told < database


def test_the_write_ahead_log_stays_small_though_changes_never_cease(make_run, monkeypatch):
    run = make_run()
    run.step()
    checkpoint, numbers = schema.checkpoint, iter(range(1, 10_000))

    def change(count):
        for _time in range(count):
            run.set(lr=1e-6 * next(numbers))

    def checkpoint_meanwhile(folder):
        checkpoint(folder)
        change(1)

    monkeypatch.setattr(schema, "checkpoint", checkpoint_meanwhile)
    log = run.store / f"{schema.FILE}-wal"
    for _turn in range(2):
        change(400)
        assert log.stat().st_size >= schema.LOG_BYTES  # it is cut to that, not to nothing
        store_in(run.store).tidy()
        change(1)
        assert log.stat().st_size <= schema.LOG_BYTES


# -- where it cannot be written


def test_a_store_that_cannot_be_made_does_not_stop_training(make_run, tmp_path):
    (tmp_path / "file").write_text("")
    run = make_run(store=tmp_path / "file" / "store")
    run.step(3)
    run.set(lr=0.5)
    run.step(3)
    assert run.step_count == 6
    assert events_of(run.journal).count("store_failed") == 1
    assert events_of(run.journal)[:2] == ["step", "store_failed"]
    assert "the run is not stored in" in run.journal[1].new


def test_a_full_disk_does_not_stop_training_and_what_was_missed_is_made_up_for(make_run, monkeypatch):
    monkeypatch.setattr(recorder, "_RETRY_SECONDS", 0.0)
    run = make_run()
    run.step(3)
    writer.flush()
    store = store_in(run.store)
    connection = store._connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    run.step(800)
    for k in range(5_000):  # until it is full: pages that were free, however many, are filled first
        run.set(lr=0.1 + k / 10_000)
        if "store_failed" in events_of(run.journal):
            break
    for k in range(20):
        run.set(lr=0.7 + k / 1000)
    failed = [entry for entry in run.journal if entry.name == "store_failed"]
    assert len(failed) == 1 and "full" in failed[0].new
    connection.execute("PRAGMA max_page_count = 1000000")
    run.set(lr=0.9)
    writer.flush()
    run.set(lr=0.8)
    record = read(run.id, run.store)
    assert list(record.journal) == list(run.journal)
    assert same_history(record.history, run.history)


def test_a_store_that_is_deleted_meanwhile_is_made_again(make_run, monkeypatch):
    monkeypatch.setattr(recorder, "_RETRY_SECONDS", 0.0)
    run = make_run()
    run.step(9)
    shutil.rmtree(run.store)
    run.step(9)
    writer.flush()
    writer.flush()
    record = read(run.id, run.store)
    assert list(record.journal) == list(run.journal)
    assert same_history(record.history, run.history)
    assert record.snapshot("initial").step == 0


def test_optimizer_state_that_no_file_can_hold_is_told_once(make_run):
    class Odd(torch.optim.SGD):
        def step(self, closure=None):
            super().step()
            self.state[self.param_groups[0]["params"][0]]["odd"] = {1, 2}

    run = make_run(optimizer=Odd)
    run.step(30)
    run.set(lr=0.1)
    writer.flush()
    run.step(3)
    assert events_of(run.journal).count("store_failed") <= 1
    assert run.step_count == 33
