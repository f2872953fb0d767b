"""What `kill -9`, damage and other processes leave of a run."""

import os
import shutil

import pytest
import torch

import nbopt
from nbopt import Run, RunState
from nbopt.store import recorder, writer
from nbopt.store.database import Store
from nbopt.store.reading import read
from tests.run import victim
from tests.run.population.victim import TIERS, was_compiled
from tests.run.reopened.alike import FOREVER, assert_alike

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="victims are forks")


# -- kill -9


@forks
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_nothing_acknowledged_is_lost_to_kill_9_and_the_run_ends_as_unbroken(store, monkeypatch):
    run = ""
    with victim.Nursery() as nursery:
        for seed in range(4):
            outcome = nursery.kill_one(store, seed, run, seconds=0.3)
            run = outcome.run
            assert victim.lost_entries(store, outcome) == 0
            assert nbopt.runs(store)[0].state in ("interrupted", "paused")
        # A sample of `python -m tests.benchmarks.kills 25 --kernels --kind population`.
        outcomes = [(kind, nursery.kill_one(store / TIERS[kind], 5, "", 0.3, kind)) for kind in TIERS]
        few = nursery.kill_one(store / "few", 6, "", 0.3, "few bits")
        bits = nursery.kill_one(store / "bits", 7, "", 0.3, "compiled bits")
    assert not victim.lost_entries(store / "few", few)
    assert victim.ends_as_unbroken(store / "few", few.run, "few bits")
    assert len(read(run, store).journal.changes()) > 5
    assert victim.ends_as_unbroken(store, run)
    victim.compile_at_once(monkeypatch.setattr)
    assert bits.told and not victim.lost_entries(store / "bits", bits)
    assert victim.ends_as_unbroken(store / "bits", bits.run, "compiled bits")
    for kind, outcome in outcomes:
        many = store / TIERS[kind]
        assert outcome.told and not victim.lost_entries(many, outcome)
        assert [line.members for line in nbopt.runs(many)] == [6]
        assert was_compiled(many, outcome.run) == (TIERS[kind] == "compiled")
        assert victim.ends_as_unbroken(many, outcome.run, kind)


@pytest.mark.parametrize("method", ["save", "update"])
def test_what_a_kill_leaves_between_the_first_snapshot_s_file_and_its_row_can_be_opened(
    make, reopen, weights, blobs, tmp_path, monkeypatch, method
):
    left = tmp_path / "left"
    original = getattr(Store, method)

    def copy_first(store, *args, **keys):
        if not left.exists() and (method == "save" or "files" in keys):
            shutil.copytree(store.folder, left)
        return original(store, *args, **keys)

    run = make()
    run.set(lr=0.5)
    monkeypatch.setattr(Store, method, copy_first)
    run.step(7)
    other = reopen(run, val=blobs, store=left)
    assert (other.state, other.hyperparams["lr"], len(other.journal.changes())) == (RunState.CREATED, 0.5, 1)
    other.step(7)
    assert_alike(run, other, weights)


def test_the_first_snapshot_is_registered_beside_those_the_writer_has_stored_already(make, monkeypatch):
    run = make()
    run.set(lr=0.5)
    describe, kinds = run.recorder._describe, []

    def describe_late():
        if run.snapshots and not kinds:
            kinds.append("asked")
            writer.flush()
            kinds.extend(run.recorder._kept.files)
        return describe()

    monkeypatch.setattr(run.recorder, "_describe", describe_late)
    run.step()
    assert kinds == ["asked", "initial", "latest"]
    monkeypatch.setattr(recorder.Recorder, "_write_snapshots", lambda *_args: False)
    record = read(run.id, run.store)
    assert record.files.keys() == {"initial", "latest"}
    assert all((run.store / file.file).exists() for file in record.files.values())


@forks
@pytest.mark.timeout(400)
def test_a_run_of_another_process_is_not_taken_from_it(store):
    with victim.Nursery() as nursery:
        run, process = nursery.start(store, 1)
        with pytest.raises(RuntimeError, match=f"run {run} is open in another process"):
            nbopt.open(run, *victim.material(), store=store)
        assert nbopt.runs(store)[0].state in ("running", "paused")
        assert nbopt.clean(keep=0, store=store) == []
        nursery.kill(process)
    assert nbopt.clean(keep=0, store=store)[0].id == run


def test_data_that_changed_unnoticed_are_told_by_the_losses(store, mlp, blobs):
    class Samples(torch.utils.data.Dataset):
        def __init__(self, scale):
            self.scale = scale

        def __len__(self):
            return 60

        def __getitem__(self, index):
            return blobs[0][index] * self.scale, blobs[1][index]

    run = Run(mlp(), Samples(1.0), epochs=FOREVER, batch_size=20, store=store)
    run.step(10)
    with pytest.warns(UserWarning, match=r"not exact: step \d was done again, and its loss is"):
        other = nbopt.open(run.id, mlp(), Samples(1.5), store=store)
    assert other.step_count == 10


def test_a_damaged_snapshot_is_done_without(make, reopen, weights, blobs):
    run = make()
    run.step(20)
    run.set(lr=1e-2)
    run.step(20)
    files = read(run.id, run.store).files
    for kind in files.keys() - {"initial"}:
        (run.store / files[kind].file).write_bytes(b"broken")
    assert_alike(run, reopen(run, val=blobs), weights)
