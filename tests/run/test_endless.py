"""Runs without an end: `epochs=None` trains until somebody, or a technique, says otherwise."""

import math
import runpy

import pytest

import nbopt
from nbopt import RunState
from nbopt.errors import InvalidHyperparam
from tests.waiting import eventually


@pytest.mark.parametrize("given", [None, math.inf])
def test_it_trains_until_told_otherwise(make_run, given):
    run = make_run(epochs=given, batch_size=20, store=None)
    run.step(600)
    assert run.state is RunState.PAUSED and run.epoch == 200
    assert run.share == 0 and run.seconds_left is None and repr(run).endswith("epoch 200, step 600>")
    run.set(epochs=201)
    assert run.fit().end_reason == "all 201 epochs done"
    run.set(epochs=None)
    run.step(9)
    assert run.state is RunState.PAUSED and run.step_count == 612
    twin = run.replay()
    twin.wait()
    assert twin.step_count == 612 and twin.exact


@pytest.mark.parametrize("schedule", ["cosine", "linear", "one_cycle"])
def test_a_schedule_that_needs_a_length_says_so(make_run, schedule):
    rule = f"schedule='{schedule}' moves by the part of the run that is done: .* Give epochs or steps"
    with pytest.raises(InvalidHyperparam, match=rule):
        make_run(epochs=None, schedule=schedule, store=None)
    run = make_run(epochs=None, store=None)
    with pytest.raises(InvalidHyperparam, match=rule):
        run.set(schedule=schedule)
    run.set(schedule=schedule, steps=40)  # that is a length
    with pytest.raises(InvalidHyperparam, match=rule):
        run.set(steps=0)
    assert run.fit().step_count == 40


def test_schedules_that_need_none_go_on(make_run):
    make_run(epochs=None, schedule="exponential", warmup=2.0, store=None).step(50)


def test_early_stopping_ends_it_and_its_script_ends_there_too(make_run, mlp, blobs, tmp_path):
    run = make_run(epochs=None, val=0.2, patience=2, lr=0.3, store=None)
    run.fit()
    assert run.end_reason.startswith("stopped early")
    (tmp_path / "script.py").write_text(run.to_python())
    told = runpy.run_path(str(tmp_path / "script.py"))["train"](mlp(), blobs)
    assert told["val_loss"] == list(run.history["val_loss"][1])


def test_a_script_without_an_end_is_refused_and_one_of_what_was_done_is_not(make_run, mlp, blobs, tmp_path):
    run = make_run(epochs=None, store=None)
    with pytest.raises(ValueError, match="without an end would not end either"):
        run.to_python()
    run.step(7)
    (tmp_path / "script.py").write_text(run.to_python())
    assert len(runpy.run_path(str(tmp_path / "script.py"))["train"](mlp(), blobs)["loss"]) == 7


def test_it_is_stored_opened_and_written_as_a_recipe(make_run, mlp, blobs, tmp_path):
    run = make_run(epochs=None, store=tmp_path)
    run.step(5)
    again = nbopt.open(run.id, mlp(), blobs, store=tmp_path)
    assert again.hyperparams["epochs"] == math.inf and again.step_count == 5
    repeated = nbopt.Run.from_yaml(run.to_yaml(), mlp(), blobs, store=None)
    assert repeated.hyperparams["epochs"] == math.inf
    repeated.start()
    eventually(lambda: repeated.state is RunState.STOPPED)
    assert repeated.step_count == 5


@pytest.mark.parametrize("given", [0, -3, 2.5, "many", math.nan])
def test_what_is_no_number_of_epochs_is_refused(make_run, given):
    with pytest.raises(InvalidHyperparam, match="at least 1, or None for no end"):
        make_run(epochs=given, store=None)


def test_compiling_pays_for_a_run_without_an_end(make_tiered, compiled, monkeypatch):
    monkeypatch.setattr("nbopt.training.step.mode._TRAINED_SECONDS", 5.0)
    run = make_tiered(epochs=None, tier="auto")
    run.training.meter.forget(seconds=10.0)
    run.start()
    eventually(lambda: run.training.tiers.steps or "CUDA" in run.tier)
