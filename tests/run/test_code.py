"""The line that makes a run, as code: what it says is what was given and changed."""

import pytest
import torch
from torch import nn

import nbopt
from nbopt.run.exports.code import recipe, script, settings_code


def own_loss(output, target):
    return nn.functional.cross_entropy(output, target)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"lr": 0.02, "val": 0.25}, {"lr": 0.02, "val": 0.25}),
        ({"metrics": ["accuracy"], "optimizer": "sgd", "momentum": 0.5, "patience": 3}, {"momentum": 0.5}),
        ({"optimizer": torch.optim.AdamW, "seed": 3}, {}),
        ({"loss": own_loss}, {}),
        ({"epochs": None, "dropout": 0.3}, {"epochs": None, "dropout": 0.3}),
    ],
)
def test_the_line_makes_a_run_with_the_same_settings(mlp, blobs, settings, expected):
    run = nbopt.Run(mlp(0.2), blobs, store=None, **settings)
    run.step(2)
    run.set(weight_decay=0.001)
    text = settings_code(run)
    assert all(f"    {name}={value!r},\n" in text for name, value in expected.items())
    assert "weight_decay=0.001" in text and "batch_size" not in text
    (x, y) = blobs
    names = {"X": x, "y": y, "nbopt": nbopt, "torch": torch, "own_loss": own_loss, "model": mlp(0.2)}
    exec(text, names)
    again = names["run"]
    assert dict(again.hyperparams) == dict(run.hyperparams)
    assert (again.seed, again.spec.val_fraction) == (run.seed, run.spec.val_fraction)
    assert list(again.metrics) == list(run.metrics)


def test_script_and_recipe_are_those_of_the_run(mlp, blobs):
    run = nbopt.Run(mlp(), blobs, store=None)
    run.step(3)
    assert script(run) == run.to_python() and recipe(run) == run.to_yaml()
