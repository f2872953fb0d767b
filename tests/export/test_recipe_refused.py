"""Recipes that are none, and what a recipe cannot hold: refused in words."""

import re

import pytest

from nbopt import Run
from nbopt.errors import InvalidHyperparam
from tests.export.remade import remake

ERRORS = {
    "hyperparameters: [1": "not YAML",
    "just words": "names and values are expected",
    "sed: 1": "unknown entry of the recipe 'sed'. Did you mean 'seed'",
    "loss: crossentropy\nseed: 0": "unknown loss 'crossentropy'. Did you mean 'cross_entropy'",
    "optimizer: adma\nseed: 0": "unknown optimizer 'adma'",
    "metrics: [acuracy]": "unknown metric 'acuracy'. Did you mean 'accuracy'",
    "hyperparameters: {learning: 1}": "unknown hyperparameter 'learning'",
    "hyperparameters: {lr: -1}": "the recipe: lr must be a finite number at least 0; got -1",
    "hyperparameters: {lr: fast}": "got 'fast'",
    "hyperparameters: {seed: 1}": "seed does not belong here",
    "schedule: {early: {lr: 1}}": "steps must be whole numbers, 0 or more; got 'early'",
    "schedule: {-1: {lr: 1}}": "steps must be whole numbers, 0 or more; got -1",
    "schedule: {12: 0.1}": "schedule, step 12: names and values are expected",
    "schedule: {12: {lrr: 0.1}}": "schedule, step 12: unknown hyperparameter 'lrr'. Did you mean 'lr'",
    "schedule: {12: {batch_size: 0}}": "schedule, step 12: batch_size must be a whole number at least 1; got 0",
    "schedule: {12: {loss: mse}}": "schedule, step 12: unknown loss 'mse'",
    "schedule: {12: {restore_best: 3}}": "schedule, step 12: restore_best can only be true; got 3",
    "schedule: {0: {reopen: true}}": "there is nothing yet that reopen could act on",
    "schedule:\n  1: {lr: 1}\n  2: {lr: 2}\n  1: {lr: 3}": "line 4: 1 is a duplicate key",
    "steps: 0": "steps must be a whole number at least 1",
    "val: all": "val must be a fraction",
    "val: 1.5": "between 0 and 1",
    "seed: x": "seed must be a whole number",
    "!!python/object/apply:os.getcwd []": "not YAML",
}


@pytest.mark.parametrize("text", ERRORS)
def test_errors_say_where_and_why(text, mlp, blobs):
    with pytest.raises(ValueError, match=re.escape(ERRORS[text])):
        remake(text, mlp(), blobs)


def test_arguments_are_checked(mlp, blobs):
    with pytest.raises(InvalidHyperparam, match=r"unknown argument 'metric'. Did you mean 'metrics'"):
        remake("seed: 0", mlp(), blobs, metric="accuracy")


def test_numbers_without_a_point_are_numbers(mlp, blobs):
    run = remake("hyperparameters: {lr: 1e-2, batch_size: 1e1}\nschedule: {3: {lr: 1e-3}}", mlp(), blobs)
    assert (run.hyperparams["lr"], run.hyperparams["batch_size"]) == (0.01, 10)
    assert run.changes.planned[0].value == 0.001


@pytest.mark.parametrize(
    "text",
    [
        "? {a: 1}\n: 2\n",
        "? [a]\n: 2\n",
        "hyperparameters:\n  ? {a: 1}\n  : 2\n",
        "schedule:\n  3:\n    ? [lr]\n    : 2\n",
        "schedule:\n  ? [3]\n  : {lr: 1}\n",
        "loss: [mse]\n",
        "loss: {a: b}\n",
        "optimizer: [adam]\n",
        "optimizer: {a: b}\n",
        "metrics: [[accuracy]]\n",
        "metrics: {a: [b]}\n",
        "metrics: 5\n",
        "seed: [1]\n",
        "seed: -1\n",
        "steps: 0\n",
        "steps: [1]\n",
        "steps: 1e999\n",
        "val: [0.5]\n",
        "forward: [x]\n",
        "hyperparameters: {lr: [1]}\n",
        "hyperparameters: {schedule: [cosine]}\n",
        "hyperparameters: {[lr]: 1}\n",
        "hyperparameters: {5: 1}\n",
        "schedule: {3: {optimizer: [adam]}}\n",
        "schedule: {3: {lr: {a: 1}}}\n",
        "schedule: {3: {5: 1}}\n",
        "schedule: {.nan: {lr: 1}}\n",
        "&a {hyperparameters: *a}\n",
        "[" * 5000,
        "seed: 2001-99-99\n",
        "seed: !!python/object:os.system {}\n",
        "a: \x00\n",
        "\ud800: 1\n",
    ],
)
def test_whatever_is_no_recipe_is_refused_in_words(mlp, blobs, text):
    with pytest.raises(ValueError, match=r".{10,}"):
        Run.from_yaml(text, mlp(), blobs, store=None)


def test_the_recipe_of_a_run_stopped_at_its_beginning_can_be_followed(make_run, mlp, blobs):
    run = make_run(epochs=2, store=None)
    run.events()
    run.stop()
    text = run.to_yaml()
    assert "steps:" not in text
    again = Run.from_yaml(text, mlp(), blobs, store=None)
    again.start()
    again.wait(30)
    assert again.state.value == "finished" and again.epoch == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("seed: " + "9" * 5000, "not YAML: .*5000 digits"),
        ("seed: 2020-13-45", "not YAML: month must be"),
        ("seed: 0\n" + "#" * 2**20, "too long: 1,048,584 characters"),
        ("[" * 20_000, "nested too deeply"),
        ("seed: !!python/object/apply:os.getcwd []", "not YAML: could not determine a constructor"),
    ],
    ids=["digits", "day", "long", "deep", "code"],
)
def test_what_a_recipe_cannot_hold_is_refused_in_words(mlp, blobs, text, told):
    with pytest.raises(ValueError, match=told):
        Run.from_yaml(text, mlp(), blobs, store=None)


def test_a_recipe_that_is_no_text_is_refused_in_words(mlp, blobs, tmp_path):
    (tmp_path / "recipe.yaml").write_bytes(b"seed: \xff")
    with pytest.raises(ValueError, match="is not UTF-8"):
        Run.from_yaml(tmp_path / "recipe.yaml", mlp(), blobs, store=None)
