"""Several processes on one store, and what it is made of."""

import gc
import sqlite3
import time
from contextlib import closing

import pytest
import torch
from torch import nn

import nbopt
from nbopt.record.journal import Entry, Journal
from nbopt.record.snapshots import Snapshot
from nbopt.store import lease, schema, tensors, writer
from nbopt.store.database import state_after, store_in
from nbopt.store.reading import read
from tests import zygote
from tests.store.runs_of import X, events_of, same_history
from tests.waiting import eventually

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
    both = [zygote.Process(code, environment={"NBOPT_HOME": str(tmp_path / "store")}) for _count in range(2)]
    for process in both:
        assert process.stdout.readline() == "ready\n"
    for process in both:
        process.stdin.write("\n")
        process.stdin.flush()

    def both_are_done():
        assert nbopt.clean(keep=0, store=tmp_path / "store") == []  # a third one would delete
        return [line.state for line in nbopt.runs(tmp_path / "store")] == ["paused"] * 2

    eventually(both_are_done, 100)
    for process in both:
        run, entries, losses = process.end("\n").stdout.split()
        record = read(run, tmp_path / "store")
        assert (len(record.journal), len(record.history["loss"][1])) == (int(entries), int(losses))
        assert "store_failed" not in events_of(record.journal)
        assert len(record.journal.changes()) > 90


def test_a_lock_lasts_as_long_as_its_process(tmp_path):
    code = (
        f"from nbopt.store import lease; from pathlib import Path; print(lease.hold(Path({str(tmp_path)!r})))\ninput()"
    )
    process = zygote.Process(code)
    token = process.stdout.readline().strip()
    assert lease.is_alive(tmp_path, token)
    assert not lease.is_own(token)
    process.kill()
    process.end()
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
