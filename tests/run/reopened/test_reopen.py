"""Opening stored runs again, in this process."""

import pytest
import torch
from torch import nn

import nbopt
from nbopt import RunState
from nbopt.store import recorder, writer
from nbopt.store.reading import Record, read
from tests.run.reopened.alike import FOREVER, assert_alike, numbers

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


def test_weights_put_in_by_hand_before_a_stop_are_there_again(make, reopen, weights, blobs):
    run = make()
    run.step(5)
    with torch.no_grad():
        run.model[0].weight.fill_(0.5)
    run.stop()
    other = reopen(run, val=blobs)
    assert any("by hand" in entry.new["reason"] for entry in other.journal if entry.name == "tuning")
    assert_alike(run, other, weights)
    for each in (run, other):
        each.step(3)
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
