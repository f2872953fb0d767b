"""The store by itself: its files, its list of runs, what it does where it cannot be written."""

import gc
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from subprocess import PIPE

import pytest
import torch
from torch import nn

import nbopt
from nbopt.errors import InvalidHyperparam
from nbopt.record.journal import Entry, Journal
from nbopt.record.snapshots import Snapshot
from nbopt.store import database, lease, recorder, schema, tensors, writer
from nbopt.store.database import folder_of, state_after, store_in
from nbopt.store.reading import read
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]

FOREVER = 10**9
X = torch.linspace(-1, 1, 60)[:, None]


@pytest.fixture(autouse=True)
def _one_thread(one_torch_thread):
    """Every test here trains on one thread."""


@pytest.fixture
def make_run(tmp_path):
    runs = []

    def make(**settings):
        given = {"val": (X, X**2), "loss": "mse", "epochs": FOREVER, "batch_size": 20, "store": tmp_path / "store"}
        torch.manual_seed(0)
        runs.append(nbopt.Run(nn.Linear(1, 1), (X, X**2), **{**given, **settings}))
        return runs[-1]

    yield make
    for run in runs:
        run.stop()


def events_of(journal):
    return [entry.name for entry in journal if entry.kind == "event"]


def same_history(one, other):
    return one.tracks.keys() == other.tracks.keys() and all(
        one[name][k].tolist() == other[name][k].tolist() for name in one.tracks for k in (0, 1)
    )


# -- where it is


def test_the_store_is_where_the_environment_says_else_in_the_working_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("NBOPT_HOME", str(tmp_path / "home"))
    assert folder_of() == tmp_path / "home"
    monkeypatch.delenv("NBOPT_HOME")
    monkeypatch.chdir(tmp_path)
    assert folder_of() == tmp_path / ".nbopt"
    assert folder_of("else/where") == tmp_path / "else" / "where"


def test_a_run_that_did_nothing_leaves_nothing(make_run, tmp_path):
    run = make_run()
    assert repr(nbopt.runs(run.store)) == "no runs are stored here"
    assert list(tmp_path.iterdir()) == []


def test_without_a_store_nothing_is_written(make_run, tmp_path):
    run = make_run(store=None)
    run.step(2)
    run.set(lr=0.5)
    assert run.recorder is None
    assert list(tmp_path.iterdir()) == []


def test_git_is_told_to_leave_it_alone(make_run):
    run = make_run()
    run.step()
    assert (run.store / ".gitignore").read_text() == "*\n"


# -- what is in it


def test_all_of_a_run_is_stored(make_run):
    run = make_run(metrics=["mae"])
    run.set(lr=0.01)
    run.step(4)
    run.set(batch_size=30, optimizer="sgd")
    run.step(3)
    record = read(run.id, run.store)
    assert list(record.journal) == list(run.journal)
    assert same_history(record.history, run.history)
    assert record.hyperparams == dict(run.hyperparams)
    assert (record.name, record.state, record.parent, record.created) == (run.name, "paused", None, run.created)
    assert record.to_pandas().equals(run.history.to_pandas())
    assert record.settings["data"]["train"]["samples"] == 60
    assert repr(record) == f"<stored run {run.id} {run.name!r}: paused, step 7>"


def test_an_entry_is_stored_before_the_journal_shows_it(make_run):
    run = make_run()
    run.step()
    with closing(sqlite3.connect(run.store / schema.FILE)) as other:
        for k in range(20):
            run.set(lr=0.1 + k / 100)
            count = other.execute("SELECT count(*) FROM journal WHERE run = ?", (run.id,)).fetchone()[0]
            assert count == len(run.journal)


def test_metrics_and_the_newest_snapshot_are_stored_while_it_trains(make_run):
    run = make_run()
    run.start()
    eventually(lambda: run.step_count > 100)
    with closing(sqlite3.connect(run.store / schema.FILE)) as other:
        losses = "SELECT coalesce(sum(length(numbers)), 0) / 8 FROM history WHERE run = ? AND name = 'loss'"
        latest = "SELECT coalesce(max(step), 0) FROM snapshots WHERE run = ?"
        before = run.step_count
        eventually(lambda: other.execute(losses, (run.id,)).fetchone()[0] >= before)
        eventually(lambda: other.execute(latest, (run.id,)).fetchone()[0] > 0)
        assert run.state is nbopt.RunState.RUNNING


def test_a_long_history_goes_into_rows_of_bounded_size(make_run):
    run = make_run(val=None)
    run.step(5000)
    assert same_history(read(run.id, run.store).history, run.history)
    run.step(100)
    assert same_history(read(run.id, run.store).history, run.history)
    with closing(sqlite3.connect(run.store / schema.FILE)) as other:
        sizes = [row[0] for row in other.execute("SELECT length(numbers) / 8 FROM history WHERE name = 'loss'")]
    assert sizes == [2048, 2048, 1004]


def test_a_rewind_is_stored(make_run):
    run = make_run()
    run.step(9)
    run.set(lr=0.5)
    run.step(30)
    writer.flush()
    run.rewind(5)
    record = read(run.id, run.store)
    assert list(record.journal) == list(run.journal)
    assert same_history(record.history, run.history)
    assert record.hyperparams["lr"] == run.hyperparams["lr"] == 1e-3
    assert all(file.step <= 5 for file in record.files.values())
    run.step(50)
    assert same_history(read(run.id, run.store).history, run.history)


def test_what_a_rewind_undid_is_left_out_even_before_its_rows_are_gone(make_run, monkeypatch):
    run = make_run()
    run.step(30)
    writer.flush()
    for name in ("update", "_write_snapshots"):
        monkeypatch.setattr(recorder.Recorder, name, lambda *_args: False)
    run.rewind(7)
    record = read(run.id, run.store)
    assert record.history["loss"][0].tolist() == list(range(7))
    assert record.history["val_loss"][0].tolist() == [3, 6]
    assert all(file.step <= 7 for file in record.files.values())


def test_at_most_three_snapshots_stay(make_run):
    run = make_run()
    for _turn in range(6):
        run.step(7)
        run.set(lr=run.hyperparams["lr"] * 1.1)
        writer.flush()
    files = {path.name for path in (run.store / "snapshots" / run.id).iterdir()}
    assert files == {Path(file.file).name for file in read(run.id, run.store).files.values()}
    assert {name.partition("-")[0] for name in files} <= {"initial", "best", "latest"}


def test_branches_and_replays_are_runs_of_their_own(make_run):
    run = make_run()
    run.step(20)
    branch = run.branch(10, lr=0.5)
    replay = run.replay()
    replay.wait(30)
    lines = {line.id: line for line in nbopt.runs(run.store)}
    assert lines[branch.id].parent == lines[replay.id].parent == run.id
    assert lines[run.id].parent is None
    record = read(branch.id, run.store)
    assert list(record.journal) == list(branch.journal)
    assert same_history(record.history, branch.history)


def test_a_run_pulled_by_hand_is_stored(make_run):
    run = make_run()
    events = run.events()
    for _count in range(10):
        next(events)
    assert nbopt.runs(run.store)[0].step == run.step_count > 5


def test_a_run_that_is_let_go_of_is_stored_to_its_end(make_run, tmp_path):
    store = tmp_path / "store"
    run = nbopt.Run(nn.Linear(1, 1), (X, X), loss="mse", epochs=2, batch_size=20, store=store)
    run.start()
    run.wait(30)
    losses, run_id = run.history["loss"][1].tolist(), run.id
    del run
    gc.collect()
    record = read(run_id, store)
    assert (record.state, record.history["loss"][1].tolist()) == ("finished", losses)


def test_a_script_that_ends_at_once_leaves_all_behind(tmp_path):
    code = (
        "import nbopt, torch; x = torch.ones(60, 1)\n"
        "run = nbopt.Run(torch.nn.Linear(1, 1), (x, x), loss='mse', epochs=5, batch_size=20); run.fit(); print(run.id)"
    )
    environment = {**os.environ, "NBOPT_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    record = read(done.stdout.strip(), tmp_path)
    assert (record.state, record.step, len(record.history["loss"][1])) == ("finished", 15, 15)
    assert list((tmp_path / "locks").iterdir()) == []


# -- the list


def test_the_list_tells_what_is_there(make_run):
    first, second = make_run(name="one"), make_run(name="two", epochs=2)
    first.step(4)
    second.step(6)
    lines = nbopt.runs(first.store)
    assert [(line.id, line.name, line.state, line.epoch, line.step) for line in lines] == [
        (first.id, "one", "paused", 1, 4),
        (second.id, "two", "finished", 2, 6),
    ]
    assert lines[0].best_val_loss == first.stopping.best
    assert lines[0].bytes > 1000
    assert "one" in repr(lines) and "best val_loss" in repr(lines).splitlines()[0]
    assert repr(lines[1]).startswith(second.id)
    assert repr(lines).endswith("0.0 MB in all; nbopt.clean deletes old runs")


@pytest.mark.parametrize("wrong", ["zzz", "", "12345678x"])
def test_an_unknown_run_is_told(make_run, wrong):
    run = make_run()
    with pytest.raises(InvalidHyperparam, match="no runs are stored in"):
        nbopt.open(wrong, store=run.store)
    run.step()
    with pytest.raises(InvalidHyperparam, match=f"unknown run {wrong!r}.*{run.id}"):
        nbopt.open(wrong, store=run.store)


def test_a_beginning_is_enough_where_it_is_the_only_one(make_run):
    one, two = make_run(), make_run()
    one.id, two.id = "abc1", "abc2"
    one.step()
    two.step()
    assert nbopt.open("abc1", store=one.store).id == "abc1"
    with pytest.raises(InvalidHyperparam, match="several runs begin with 'ab': abc2, abc1"):
        nbopt.open("ab", store=one.store)
    with pytest.raises(InvalidHyperparam, match="Did you mean 'abc"):
        nbopt.open("abd1", store=one.store)
    two.id = "x"


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
    run.step(5000)
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
    for _turn in range(4):
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
    run.step(5000)
    for k in range(200):
        run.set(lr=0.1 + k / 1000)
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


# -- two processes


def test_two_processes_write_to_one_store_at_once_and_a_third_one_cleans_it(tmp_path):
    code = (
        "import nbopt, torch; from tests.waiting import eventually\n"
        "torch.set_num_threads(1); x = torch.ones(60, 1)\n"
        "run = nbopt.Run(torch.nn.Linear(1, 1), (x, x), loss='mse', epochs=10**9, batch_size=20); run.start()\n"
        "print('ready', flush=True); input()\n"
        "for k in range(100):\n"
        "    step = run.step_count; run.set(lr=0.001 + k / 1e6); eventually(lambda: run.step_count > step)\n"
        "run.pause(); print(run.id, len(run.journal), len(run.history['loss'][1])); input()"
    )
    environment = {**os.environ, "NBOPT_HOME": str(tmp_path / "store")}
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdin=PIPE, stdout=PIPE, text=True, env=environment, cwd=ROOT)
        for _count in range(2)
    ]

    for process in both:
        assert process.stdout.readline() == "ready\n"
    for process in both:  # now that neither has anything to import
        process.stdin.write("\n")
        process.stdin.flush()

    def both_are_done():
        assert nbopt.clean(keep=0, store=tmp_path / "store") == []  # a third one would delete
        return [line.state for line in nbopt.runs(tmp_path / "store")] == ["paused"] * 2

    eventually(both_are_done, 100)
    for process in both:
        run, entries, losses = process.communicate("\n", timeout=100)[0].split()
        record = read(run, tmp_path / "store")
        assert (len(record.journal), len(record.history["loss"][1])) == (int(entries), int(losses))
        assert "store_failed" not in events_of(record.journal)
        assert len(record.journal.changes()) > 90


def test_a_lock_lasts_as_long_as_its_process(tmp_path):
    code = (
        f"from nbopt.store import lease; from pathlib import Path; print(lease.hold(Path({str(tmp_path)!r})))\ninput()"
    )
    pipes = {"stdin": PIPE, "stdout": PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as process:
        token = process.stdout.readline().strip()
        assert lease.is_alive(tmp_path, token)
        assert not lease.is_own(token)
        process.kill()
        process.wait()
        assert not lease.is_alive(tmp_path, token)
    own = lease.hold(tmp_path)
    assert lease.is_own(own) and lease.is_alive(tmp_path, own)
    lease.release(tmp_path, own)
    assert not lease.is_alive(tmp_path, own)
    assert not lease.is_alive(tmp_path, None)


# -- parts


def test_a_snapshot_comes_back_as_it_was(tmp_path):
    held = {
        "image": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "turned": torch.randn(3, 4).t(),
        "number": torch.tensor(3.5),
        "half": torch.randn(4).bfloat16(),
        "none": torch.empty(0, 3),
        "flags": torch.tensor([True, False]),
    }
    facts = {"lr": 0.1, "best": None, "cursor": [1, 2, 3]}
    size = tensors.save(Snapshot(7, held, facts), tmp_path / "a" / "b.safetensors")
    assert [path.stat().st_size for path in (tmp_path / "a").iterdir()] == [size]
    back = tensors.load(tmp_path / "a" / "b.safetensors")
    assert (back.step, back.facts, list(back.tensors)) == (7, facts, list(held))
    for name, tensor in held.items():
        assert torch.equal(back.tensors[name], tensor)
        assert (back.tensors[name].stride(), back.tensors[name].dtype) == (tensor.stride(), tensor.dtype)


def test_a_snapshot_that_cannot_be_written_leaves_no_half_a_file(tmp_path):
    with pytest.raises(TypeError):
        tensors.save(Snapshot(7, {}, {"odd": {1}}), tmp_path / "b.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "new", "source", "state"),
    [
        ("start", None, "code", ("running", "")),
        ("pause", None, "panel", ("paused", "")),
        ("finished", "all 2 epochs done", "run", ("finished", "all 2 epochs done")),
        ("branch", "abcd", "code", ("paused", "")),
        ("rewind", 3, "code", ("paused", "")),
        ("rewind", 3, "guard", None),
        ("open", "finished", "run", None),
        ("open", "paused", "run", ("paused", "")),
        ("diverged", "loss nan", "guard", None),
    ],
)
def test_the_journal_tells_the_state(name, new, source, state):
    assert state_after(Entry(5, name, None, new, source, 0.0, "event")) == state


def test_a_journal_shows_an_entry_only_when_its_sink_has_it():
    journal = Journal()
    seen = []
    journal.sink = lambda entry: seen.append((entry.name, len(journal))) or ("broken" if entry.name == "b" else None)
    journal.event(1, "a")
    journal.event(2, "b")
    assert seen == [("a", 0), ("b", 1)]
    assert [(entry.name, entry.new) for entry in journal] == [("a", None), ("b", None), ("store_failed", "broken")]


def test_one_store_object_per_folder(tmp_path):
    store = store_in(tmp_path)
    assert store_in(tmp_path) is store
    assert store.claim("nobody", None) is False


def test_a_thinned_history_is_stored_as_it_is_and_told_once(make_run, monkeypatch):
    monkeypatch.setattr("nbopt.record.history.MOST", 300)
    run = make_run()
    run.step(700)
    writer.flush()
    run.step(700)
    record = read(run.id, run.store)
    assert same_history(record.history, run.history) and len(run.history["loss"][1]) <= 300
    assert next(entry.new for entry in run.journal if entry.name == "note").endswith(
        "only the extremes of the older losses."
    )
    assert [entry.name for entry in run.journal].count("note") == 1


def test_a_store_that_another_process_holds_delays_no_change_and_gets_it_later(make_run):
    run = make_run()
    run.step(3)
    writer.flush()
    with closing(sqlite3.connect(run.store / schema.FILE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        for rate in (0.1, 0.2, 0.3):
            run.set(lr=rate)
        run.step(5)
        assert time.monotonic() - began < 4
        told = [entry.new for entry in run.journal if entry.name == "store_failed"]
        assert len(told) == 1 and "another process holds the store" in told[0]
        other.execute("ROLLBACK")
    eventually(lambda: events_of(run.journal)[-1] == "stored")
    writer.flush()
    record = read(run.id, run.store)
    assert list(record.journal) == list(run.journal) and record.hyperparams["lr"] == 0.3
    assert same_history(record.history, run.history)
    run.set(lr=0.4)
    assert len(read(run.id, run.store).journal) == len(run.journal)


def test_an_entry_that_an_interrupt_kept_from_the_journal_is_forgotten(make_run):
    run = make_run()
    run.step(3)
    sink = run.journal.sink

    def interrupted(entry):
        sink(entry)
        raise KeyboardInterrupt

    run.journal.sink = interrupted
    with pytest.raises(KeyboardInterrupt):
        run.set(lr=0.5)
    run.journal.sink = sink
    writer.flush()
    record = read(run.id, run.store)
    assert list(record.journal) == list(run.journal) and run.hyperparams["lr"] == record.hyperparams["lr"] == 1e-3


def test_a_run_that_nobody_holds_when_it_ends_is_stored_whole(tmp_path):
    """It may be gone before the writer looks at it."""
    for name in ("one", "two"):
        nbopt.Run(nn.Linear(1, 1), (X, X), (X, X), "mse", epochs=3, batch_size=20, name=name, store=tmp_path).fit()
    gc.collect()
    writer.flush()
    for line in nbopt.runs(tmp_path):
        assert (line.state, line.step) == ("finished", 9) and line.best_val_loss is not None
        assert nbopt.open(line.id, store=tmp_path).snapshot("latest").step == 9
