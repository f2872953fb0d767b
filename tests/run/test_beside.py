"""Stored runs opened with the model and data of a run that is there."""

import copy

import pytest
import torch
from torch import nn

import nbopt
from nbopt.run.beside import leave_store, open_beside, rename
from nbopt.store import writer


def left(run):
    """Leave a run to whoever opens it next."""
    run.stop()
    writer.flush()
    run.recorder.leave()
    return run


def own_loss(output, target):
    return nn.functional.cross_entropy(output, target) * 2


@pytest.mark.parametrize("loss", ["cross_entropy", own_loss])
@pytest.mark.parametrize("begun", [False, True])
def test_a_stored_run_goes_on_with_a_copy_of_another_runs_model(mlp, weights, blobs, tmp_path, loss, begun):
    settings = {"train": blobs, "val": 0.25, "loss": loss, "metrics": ["accuracy"], "epochs": 6, "batch_size": 20}
    model = mlp(0.2)
    whole = nbopt.Run(copy.deepcopy(model), **settings, store=None)
    whole.step(12)
    first = nbopt.Run(copy.deepcopy(model), **settings, store=tmp_path)
    first.step(7)
    left(first)
    other = nbopt.Run(mlp(0.2), **settings, lr=0.1, store=tmp_path)
    if begun:
        other.step(3)
    before = weights(other).clone()
    opened = open_beside(other, first.id)
    assert (opened.id, opened.step_count, opened.hyperparams["lr"]) == (first.id, 7, 1e-3)
    opened.step(5)
    assert torch.equal(weights(opened), weights(whole))
    assert torch.equal(weights(other), before)


def test_a_run_of_another_model_is_refused_in_words(mlp, blobs, tmp_path):
    first = nbopt.Run(mlp(), blobs, store=tmp_path)
    first.step(1)
    left(first)
    other = nbopt.Run(nn.Linear(4, 3), blobs, store=tmp_path)
    with pytest.raises(ValueError, match=r"is not what run .* was made with"):
        open_beside(other, first.id)


def test_a_live_run_is_renamed_and_leaves_its_store(mlp, blobs, tmp_path):
    run = nbopt.Run(mlp(), blobs, name="before", store=tmp_path)
    run.step(1)
    rename(run, "after")
    assert run.name == "after"
    leave_store(run)
    run.step(1)
    writer.flush()
    assert [line.name for line in nbopt.runs(tmp_path)] == ["before"]
