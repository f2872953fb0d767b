"""What a store holds of a run, and the list of runs."""

import gc
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from torch import nn

import nbopt
from nbopt.errors import InvalidHyperparam
from nbopt.store import recorder, schema, writer
from nbopt.store.database import folder_of
from nbopt.store.reading import read
from tests import zygote
from tests.store.runs_of import X, same_history
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]


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
    done = zygote.run(code, environment={"NBOPT_HOME": str(tmp_path)})
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
