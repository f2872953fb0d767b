"""A run's length in steps: in scripts and recipes, in stored runs, and in what is said of it."""

import math

import pytest
from torch import nn

import nbopt
from nbopt import Run, RunState
from nbopt.errors import InvalidHyperparam
from nbopt.techniques.plan import Plan
from tests.export import scripts
from tests.export.scripts import is_tidy
from tests.training.streams import SIZE, endless, same


def test_where_no_terminal_is_there_are_twenty_lines(mlp, monkeypatch, capsys):
    monkeypatch.setattr("nbopt.run.worker.progress._SECONDS", 0.0)
    Run(mlp(), endless(), steps=100, store=None).fit()
    assert [line.split()[3] for line in capsys.readouterr().err.splitlines()] == [
        *(f"{step}/100" for step in range(5, 101, 5)),
        "100/100",
    ]


# -- files


CHANGES = {
    "as it is": ({}, {}),
    "in steps": ({"steps": 8}, {}),
    "often": ({"validate_every": 2}, {}),
    "both": ({"steps": 11, "validate_every": 4}, {}),
    "longer": ({"steps": 6, "validate_every": 4}, {2: {"steps": 9}, 5: {"validate_every": 0}}),
    "in epochs again": ({"steps": 50, "epochs": 3}, {4: {"steps": 0, "validate_every": 5}}),
    "patience": ({"patience": 1, "min_delta": 0.5, "validate_every": 2, "steps": 30}, {}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_script_validates_and_ends_as_the_run_did(mlp, blobs, name):
    settings, schedule = CHANGES[name]
    settings = {"epochs": 4, "batch_size": SIZE, "metrics": "accuracy", "schedule": "cosine", "lr": 0.1, **settings}
    run, initial = scripts.make(mlp(0.1), blobs, blobs, **settings)
    scripts.follow(run, schedule)
    text = run.to_python()
    measured = scripts.execute(text, initial, blobs, blobs)
    for series in ("val_loss", "accuracy", "val_accuracy"):
        assert measured[series] == run.history[series][1].tolist()
    assert len(measured["loss"]) == len(measured["val_loss"])
    assert same(run.model, initial)
    assert is_tidy(text)


def test_a_script_goes_through_a_stream_without_an_end(mlp, blobs):
    run, initial = scripts.make(mlp(0.1), endless(), blobs, steps=9, validate_every=4, schedule="linear")
    scripts.follow(run, {3: {"lr": 0.01}})
    measured = scripts.execute(run.to_python(), initial, endless(), blobs)
    assert measured["val_loss"] == run.history["val_loss"][1].tolist()
    assert same(run.model, initial)


def test_a_recipe_tells_the_length_from_where_a_run_was_left(mlp, blobs):
    run = Run(mlp(), blobs, steps=20, validate_every=4, batch_size=SIZE, store=None)
    run.step(7)
    text = run.to_yaml()
    assert "\nsteps: 7 " in text
    assert "\n  steps: 20\n" in text
    again = Run.from_yaml(text, mlp(), blobs, store=None)
    again.start()
    assert again.wait(60) is RunState.STOPPED
    assert (again.step_count, again.hyperparams["steps"], again.hyperparams["validate_every"]) == (7, 20, 4)
    assert same(again.model, run.model)
    old = Run.from_yaml("steps: 5\nhyperparameters:\n  batch_size: 20\n", mlp(), blobs, store=None)
    old.start()
    assert old.wait(60) is RunState.STOPPED
    assert (old.step_count, old.hyperparams["steps"]) == (5, 0)


def test_a_stored_run_is_opened_and_goes_on_to_its_length(mlp, blobs, tmp_path):
    settings = {"steps": 10, "validate_every": 4, "schedule": "linear", "batch_size": SIZE}
    whole = Run(mlp(), blobs, blobs, store=None, **settings).fit()
    run = Run(mlp(), blobs, blobs, store=tmp_path, **settings)
    run.step(6)
    run.recorder.close()
    opened = nbopt.open(run.id, mlp(), blobs, blobs, store=tmp_path).fit()
    assert same(opened.model, whole.model)
    assert opened.history["val_loss"][1].tolist() == whole.history["val_loss"][1].tolist()


# -- the plan alone


def plan(**values):
    made = Plan()
    vars(made).update({"epochs": 20, "steps": 0, "validate_every": 0, **values})
    return made


@pytest.mark.parametrize(
    ("values", "step", "progress", "share"),
    [
        ({}, 500, 5.0, 0.25),
        ({"epochs": 4}, 500, 5.0, 1.0),
        ({"steps": 1000}, 500, 5.0, 0.5),
        ({"steps": 100}, 500, 0.0, 1.0),
    ],
    ids=str,
)
def test_the_share_done_is_that_of_steps_or_of_epochs(values, step, progress, share):
    assert plan(**values).share(step, progress) == share


@pytest.mark.parametrize(
    "values", [{}, {"steps": 10}, {"validate_every": 4}, {"steps": 10, "validate_every": 4}], ids=str
)
def test_what_lies_ahead_is_the_next_step_to_be_validated(values):
    made = plan(**values)
    for step in range(10):
        due = next((later for later in range(step + 1, 99) if made.validates_step(later)), math.inf)
        assert made.ahead(step) == due - step


@pytest.mark.parametrize("name", ["steps", "validate_every", "warmup_steps"])
def test_they_are_whole_numbers(mlp, blobs, name):
    with pytest.raises(InvalidHyperparam, match=f"{name} must be a whole number at least 0; got -1"):
        Run(mlp(), blobs, **{name: -1})


def test_a_model_of_one_layer_is_enough():
    run = Run(nn.Linear(4, 3), endless(), steps=3, store=None).fit()
    assert run.step_count == 3
