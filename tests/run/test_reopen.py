"""Opening stored runs again: from another process that was killed, and in this one."""

import os
import shutil
import warnings

import pytest
import torch
from torch import nn

import nbopt
from nbopt import Run, RunState
from nbopt.store import recorder, writer
from nbopt.store.database import Store
from nbopt.store.reading import Record, read
from tests.run import victim

FOREVER = 10**9
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="victims are forks")


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


@pytest.fixture(autouse=True)
def _no_warnings():
    """Nobody here is to be brought back other than bit for bit."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    assert [str(each.message) for each in caught] == []


@pytest.fixture
def reopen(make_run, mlp, blobs, store):
    """Return a maker of runs that are stored, and what opens them again with the same model and data."""

    def opened(run, **given):
        return nbopt.open(run.id, given.pop("model", mlp(0.3)), given.pop("train", blobs), **{"store": store, **given})

    return opened


@pytest.fixture
def make(make_run, mlp, blobs, store):
    def made(**settings):
        given = {"val": blobs, "epochs": FOREVER, "batch_size": 20, "metrics": ["accuracy"], "store": store}
        return make_run(mlp(0.3), **{**given, **settings})

    return made


def numbers(run):
    return {name: [part.tolist() for part in run.history[name]] for name in run.history}


def assert_alike(one, other, weights):
    assert torch.equal(weights(one), weights(other))
    assert numbers(one) == numbers(other)
    assert dict(one.hyperparams) == dict(other.hyperparams)
    assert (one.step_count, one.epoch) == (other.step_count, other.epoch)


# -- kill -9


@forks
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_nothing_acknowledged_is_lost_to_kill_9_and_the_run_ends_as_unbroken(store):
    run = ""
    with victim.Nursery() as nursery:
        for seed in range(5):
            outcome = nursery.kill_one(store, seed, run, seconds=0.6)
            run = outcome.run
            assert victim.lost_entries(store, outcome) == 0
            assert nbopt.runs(store)[0].state in ("interrupted", "paused")
        many = store / "many"  # a sample of `python tests/benchmarks/kills.py 25 --kernels --populations`
        outcome = nursery.kill_one(many, 5, "", 0.6, victim.POPULATION)
    assert len(read(run, store).journal.changes()) > 5
    assert victim.ends_as_unbroken(store, run)
    assert outcome.told and not victim.lost_entries(many, outcome)
    assert [line.members for line in nbopt.runs(many)] == [6]
    assert victim.ends_as_unbroken(many, outcome.run, victim.POPULATION)


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


# -- going on


def test_a_run_opened_again_goes_on_where_it_was(make, reopen, weights, blobs):
    run = make(patience=10**6)
    run.set(lr=3e-3)
    run.step(40)
    run.set(batch_size=13, dropout=0.1)
    run.step(30)
    run.set(optimizer="sgd", momentum=0.9)
    run.step(11)
    other = reopen(run, val=blobs)
    assert (other.state, other.id, other.name, other.created) == (RunState.PAUSED, run.id, run.name, run.created)
    assert_alike(run, other, weights)
    entries = [entry for entry in other.journal if entry.name != "open"]
    assert entries == [entry for entry in run.journal if entry.name != "store_failed"]
    for each in (run, other):
        each.step(50)
    assert_alike(run, other, weights)
    record = read(run.id, other.store)
    assert list(record.journal) == list(other.journal)
    assert numbers(record) == numbers(other)


def test_changes_made_after_the_newest_snapshot_are_made_again_at_their_steps(
    make, reopen, weights, blobs, monkeypatch
):
    run = make()
    run.step(3)
    writer.flush()
    monkeypatch.setattr(recorder.Recorder, "_write_snapshots", lambda *_args: False)
    for lr in (1e-2, 3e-3, 1e-4):
        run.step(5)
        run.set(lr=lr)
    assert max(file.step for file in read(run.id, run.store).files.values()) <= 3
    other = reopen(run, val=blobs)
    assert_alike(run, other, weights)
    for each in (run, other):
        each.step(20)
    assert_alike(run, other, weights)


def test_early_stopping_goes_on_counting(make, reopen, weights, blobs):
    run = make(patience=4, min_delta=0.05, epochs=200, lr=1e-2)
    run.step(24)
    other = reopen(run, val=blobs)
    for each in (run, other):
        each.resume()
        each.wait(60)
    assert run.end_reason == other.end_reason
    assert_alike(run, other, weights)


def test_a_finished_run_is_finished_and_goes_on_with_more_epochs(make, reopen, weights, blobs):
    run = make(epochs=4)
    run.start()
    run.wait(60)
    other = reopen(run, val=blobs)
    assert (other.state, other.end_reason) == (RunState.FINISHED, "all 4 epochs done")
    assert nbopt.runs(other.store)[0].state == "finished"
    assert_alike(run, other, weights)
    with pytest.raises(RuntimeError, match="Set epochs higher"):
        other.resume()
    for each in (run, other):
        each.set(epochs=6)
        each.resume()
        each.wait(60)
    assert_alike(run, other, weights)


def test_a_stopped_early_run_has_its_best_weights_and_goes_on(make, reopen, weights, blobs):
    run = make(epochs=FOREVER, patience=2, min_delta=10.0)
    run.start()
    run.wait(60)
    assert run.end_reason.startswith("stopped early")
    other = reopen(run, val=blobs)
    assert_alike(run, other, weights)
    for each in (run, other):
        each.resume()
        each.wait(60)
    assert_alike(run, other, weights)


def test_rewind_branch_and_replay_work_as_before(make, reopen, weights, blobs):
    run = make()
    run.step(20)
    run.set(lr=1e-2)
    run.step(20)
    other = reopen(run, val=blobs)
    assert other.snapshots.best.step == run.snapshots.best.step
    replay = other.replay()
    replay.wait(60)
    assert torch.equal(weights(replay), weights(run))
    branches = [each.branch(25, lr=1e-3) for each in (run, other)]
    for each in (run, other):
        each.rewind(10)
    assert_alike(run, other, weights)
    for each in branches:
        each.step(10)
    assert_alike(*branches, weights)
    again = nbopt.open(branches[1].id, replay.model, blobs, val=blobs, store=other.store)
    assert again.parent == run.id
    assert_alike(branches[1], again, weights)


def test_a_rewound_run_is_opened_where_it_was_rewound_to(make, reopen, weights, blobs):
    run = make()
    run.step(30)
    run.set(lr=1e-2)
    run.step(30)
    run.rewind(12)
    other = reopen(run, val=blobs)
    assert (other.step_count, other.hyperparams["lr"]) == (12, 1e-3)
    assert_alike(run, other, weights)


def test_a_run_that_was_not_started_is_opened_with_its_changes(make, reopen, blobs):
    run = make()
    run.set(lr=0.5)
    other = reopen(run, val=blobs)
    assert (other.state, other.hyperparams["lr"], len(other.journal)) == (RunState.CREATED, 0.5, 1)
    other.step(3)
    assert len(read(run.id, run.store).journal) == len(other.journal)


def test_a_share_of_train_is_cut_off_again(make, reopen, weights):
    run = make(val=0.25)
    run.step(20)
    other = reopen(run)
    assert_alike(run, other, weights)


def test_own_functions_and_optimizers_are_given_again(make, reopen, weights, blobs, mlp):
    def mine(output, target):
        return nn.functional.cross_entropy(output, target) * 2

    def forward(model, batch):
        return model(batch[0]), batch[1]

    own = {"loss": mine, "forward": forward, "metrics": {"hits": "accuracy", "mine": mine}}
    model = mlp(0.3)
    run = make(optimizer=torch.optim.Adagrad, **own)
    run.step(20)
    own["optimizer"] = torch.optim.Adagrad
    for name in own:
        with pytest.raises(ValueError, match=f"the run was made with {name} .*give it again as {name}="):
            reopen(run, val=blobs, **{key: value for key, value in own.items() if key != name})
    other = reopen(run, val=blobs, model=model, **own)
    assert_alike(run, other, weights)
    for each in (run, other):
        each.step(10)
    assert_alike(run, other, weights)


# -- reading


def test_without_a_model_there_is_only_the_record(make, store):
    run = make()
    run.step(8)
    record = nbopt.open(run.id[:5], store=store)
    assert isinstance(record, Record)
    assert numbers(record) == numbers(run)
    assert list(record.journal) == list(run.journal)


# -- what is refused


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"model": nn.Linear(4, 3)}, "model: 0.weight was 16 x 4 float32, now it is missing"),
        ({"train": (torch.zeros(50, 4), torch.zeros(50).long())}, "data train: samples was 60, now it is 50"),
        ({"train": (torch.zeros(60, 4), torch.zeros(60).long())}, r"data train: values \(checksum\) was"),
        ({"val": None}, "data: val was .*, now it is missing"),
        ({"loss": nn.functional.cross_entropy, "metrics": "r2"}, "run: metrics was accuracy, now it is r2"),
        ({"optimizer": "sgd"}, "run: optimizer was adam, now it is sgd"),
    ],
)
def test_what_differs_is_named_and_the_stored_run_stays_as_it_is(make, reopen, blobs, given, told):
    run = make()
    run.step(8)
    before = list(read(run.id, run.store).journal)
    with pytest.raises(ValueError, match=f"this is not what run {run.id} was made with: {told}"):
        reopen(run, **{"val": blobs, **given})
    assert list(read(run.id, run.store).journal) == before
    run.step(1)
    assert len(read(run.id, run.store).journal) == len(before) + 2


def test_a_running_run_is_not_opened_twice(make, reopen, blobs):
    run = make()
    run.start()
    with pytest.raises(RuntimeError, match="is running in this process: pause it"):
        reopen(run, val=blobs)
    run.pause()
    other = reopen(run, val=blobs)
    assert run.journal[-1].name == "store_failed" and "opened again" in run.journal[-1].new
    run.step(5)
    assert other.step_count < run.step_count
    assert len(read(run.id, run.store).journal) == len(other.journal)


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
