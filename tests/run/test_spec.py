"""What a run is made with, as one value: the runs that come of others are made right, and not put right afterwards."""

import dataclasses

import pytest
import torch
from torch import nn

import nbopt
from nbopt.errors import InvalidHyperparam
from nbopt.run.spec import RunSpec


@pytest.fixture
def made(monkeypatch):
    """What each run was when it was made, before anybody could change it."""
    seen = []

    class Viewer:
        @staticmethod
        def made(run):
            seen.append((run.id, run.name, run.parent, run.store, run.created, dict(run.initial), run.spec))

        @staticmethod
        def follow():
            return None

    monkeypatch.setattr(nbopt.Run, "viewer", Viewer)
    return seen


def facts(run):
    return run.id, run.name, run.parent, run.store, run.created, dict(run.initial), run.spec


def test_a_run_made_of_a_spec_is_the_run_made_of_the_same_arguments(mlp, blobs, tmp_path):
    settings = {"val": 0.25, "optimizer": "sgd", "metrics": ["accuracy"], "seed": 3, "store": None}
    torch.manual_seed(0)
    one = nbopt.Run(mlp(), blobs, lr=0.1, epochs=2, **settings)
    torch.manual_seed(0)
    other = nbopt.Run.of(RunSpec(mlp(), blobs, hyperparams={"lr": 0.1, "epochs": 2}, **settings))
    assert dict(one.hyperparams) == dict(other.hyperparams)
    other.model.load_state_dict(one.model.state_dict())
    for run in (one, other):
        for _event in run.events():
            pass
    assert one.history["val_loss"][1].tolist() == other.history["val_loss"][1].tolist()


def test_a_spec_cannot_be_changed_only_replaced(mlp, blobs):
    spec = RunSpec(mlp(), blobs)
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.seed = 1
    assert dataclasses.replace(spec, seed=1).checked().seed == 1


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"model": 3}, TypeError),
        ({"seed": -1}, ValueError),
        ({"val": 2.0}, ValueError),
        ({"device": "gpu"}, ValueError),
    ],
)
def test_what_no_run_can_be_made_with_is_refused_when_it_is_checked(mlp, blobs, wrong, error):
    with pytest.raises(error):
        RunSpec(**{"model": mlp(), "train": blobs, **wrong}).checked()
    with pytest.raises(InvalidHyperparam, match="lrr"):
        RunSpec(mlp(), blobs, hyperparams={"lrr": 1.0}).checked().declare()


def test_runs_that_come_of_others_are_what_they_are_from_the_beginning(mlp, blobs, made, tmp_path):
    """Whoever is told of a new run, as the notebook's cells and the store are, is told what it will be."""
    run = nbopt.Run(mlp(), blobs, 0.25, store=tmp_path, lr=0.02, batch_size=8)
    run.step(4)
    runs = [run, run.branch(at=2, lr=0.1), run.replay()]
    runs[-1].wait(60)
    recipe = nbopt.Run.from_yaml(run.to_yaml(), mlp(), blobs, store=None)
    assert recipe.spec.until.step == 4
    runs.append(recipe)
    run.recorder.close()
    opened = nbopt.open(run.id, mlp(), blobs, store=tmp_path)
    assert (opened.id, opened.name, opened.created) == (run.id, run.name, run.created)
    runs.append(opened)
    assert [facts(each) for each in runs] == made
    assert [each.parent for each in runs] == [None, run.id, run.id, None, None]
    assert {each.spec.val_fraction for each in runs} == {0.25}
    assert all(each.spec.origin is blobs for each in runs)


def test_the_rate_finder_never_has_a_place_in_the_store(mlp, blobs, made, tmp_path):
    run = nbopt.Run(mlp(), blobs, store=tmp_path)
    run.step(2)
    run.find_lr(steps=10)
    assert [store for _id, _name, _parent, store, *_rest in made] == [tmp_path]
    assert [row.id for row in nbopt.runs(tmp_path)] == [run.id]


def test_a_copy_of_a_planned_run_does_what_it_is_asked_for(mlp, blobs):
    """A run that waits for its recipe's end does not hand that end on."""
    run = nbopt.Run.from_yaml("steps: 3\nhyperparameters:\n  lr: 0.1\n", mlp(), blobs, store=None)
    run.fit()
    branch = run.branch(at=2)
    assert branch.spec.until is None and branch.spec.planned == ()
    branch.step(5)
    assert (run.step_count, branch.step_count) == (3, 7)


def test_a_subclass_stays_what_it_is(mlp, blobs):
    class Mine(nbopt.Run):
        pass

    run = Mine(nn.Sequential(nn.Linear(4, 3)), blobs, store=None)
    run.step(2)
    assert type(run.branch(at=1)) is Mine
