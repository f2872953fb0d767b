"""Every error is told where the user is, and leaves a run that can go on."""

from functools import partial

import pytest
import torch
from torch import nn

from nbopt import Run
from nbopt.errors import InvalidHyperparam, UnknownName

# -- in the constructor: names, values, the model


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"learning_rate": 0.1}, UnknownName, r"unknown hyperparameter 'learning_rate'\. Did you mean 'lr'\?"),
        ({"eps": 1e-4}, InvalidHyperparam, r"optimizer=functools\.partial\(torch\.optim\.Adam, eps=0\.0001\)"),
        ({"optimizer": "sgd", "dampening": 0.1}, InvalidHyperparam, r"partial\(torch\.optim\.SGD, dampening=0\.1\)"),
        ({"optimizer": lambda weights: 3}, InvalidHyperparam, "it returned 3, no torch optimizer"),
        ({"optimizer": partial(torch.optim.Adam, epsilon=1)}, InvalidHyperparam, "it raised TypeError.*epsilon"),
        ({"bach_size": 3}, UnknownName, "Did you mean 'batch_size'"),
        ({"delta": 3}, UnknownName, "unknown hyperparameter 'delta'"),
        ({"lr": -1}, InvalidHyperparam, "lr must be a finite number at least 0; got -1"),
        ({"lr": float("nan")}, InvalidHyperparam, "lr must be a finite number at least 0; got nan"),
        ({"lr": float("inf")}, InvalidHyperparam, "got inf"),
        ({"lr": "0.1"}, InvalidHyperparam, "got '0.1'"),
        ({"dropout": 1.0}, InvalidHyperparam, "dropout must be a finite number at least 0 and below 1"),
        ({"batch_size": 0}, InvalidHyperparam, "batch_size must be a whole number at least 1"),
        ({"batch_size": 2**63}, InvalidHyperparam, "batch_size must be"),
        ({"epochs": 2.5}, InvalidHyperparam, "epochs must be a whole number"),
        ({"early_stopping": 1}, InvalidHyperparam, "early_stopping must be True or False"),
        ({"optimizer": "admw"}, UnknownName, "Did you mean 'adamw'"),
        ({"optimizer": None}, UnknownName, "unknown optimizer None"),
        ({"loss": "crossentropy"}, UnknownName, "Did you mean 'cross_entropy'"),
        ({"metrics": "acc"}, UnknownName, "unknown metric 'acc'"),
        ({"device": "gpu"}, UnknownName, "unknown device 'gpu'"),
        ({"device": "cuda:77"}, ValueError, "is not on this machine"),
        ({"seed": -1}, ValueError, "seed must be a whole number"),
        ({"seed": 1.5}, ValueError, "seed must be a whole number"),
        ({"seed": True}, ValueError, "seed must be a whole number"),
        ({"forward": "mean"}, TypeError, r"forward must be callable\(model, batch\) -> \(output, target\); got str"),
        (
            {"loss": nn.GaussianNLLLoss()},
            InvalidHyperparam,
            r"called with \(output, target\), and GaussianNLLLoss\(.*var",
        ),
        ({"loss": nn.functional.triplet_margin_loss}, InvalidHyperparam, "hands on what else it takes"),
        ({"loss": [(1.0, lambda a, b, c: a)]}, InvalidHyperparam, "each term needs a different name"),
        ({"loss": lambda a, b, c: a}, InvalidHyperparam, r"<lambda>\(a, b, c\) cannot be"),
        ({"val": 0.0}, ValueError, "a fraction of train between 0 and 1; got 0.0"),
        ({"val": 1}, ValueError, "between 0 and 1; got 1"),
        ({"val": True}, ValueError, "between 0 and 1; got True"),
    ],
)
def test_a_wrong_setting_is_told_when_the_run_is_made(mlp, blobs, settings, error, message):
    with pytest.raises(error, match=message):
        Run(mlp(), blobs, **settings)


def lazy():
    return nn.Sequential(nn.LazyLinear(3))


def frozen():
    return nn.Linear(4, 3).requires_grad_(False)


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (nn.Linear, TypeError, r"model is the class Linear, not an instance: write Linear\(\)"),
        ("resnet", TypeError, "model must be a torch.nn.Module; got str"),
        (lazy, ValueError, "lazy layers that have not seen data yet"),
        (frozen, ValueError, "no parameter that requires a gradient"),
        (nn.ReLU, TypeError, "model is the class ReLU"),
    ],
)
def test_what_is_no_model_is_told_when_the_run_is_made(blobs, model, error, message):
    with pytest.raises(error, match=message):
        Run(model() if model in (lazy, frozen) else model, blobs)


def test_an_optimizer_over_another_model_is_told_when_the_run_is_made(mlp, blobs):
    with pytest.raises(ValueError, match="holds parameters that are not this model's"):
        Run(mlp(), blobs, optimizer=torch.optim.SGD(mlp().parameters()))


# -- what looks like a change


def test_a_hyperparameter_set_as_an_attribute_says_how_it_is_set(make_run):
    run = make_run()
    with pytest.raises(AttributeError, match=r"lr is a hyperparameter: write run\.set\(lr=0\.1\)"):
        run.lr = 0.1
    with pytest.raises(AttributeError, match=r"run\.set\(optimizer='sgd'\)"):
        run.optimizer = "sgd"
    assert run.hyperparams["lr"] == 1e-3


def test_what_a_run_is_made_of_is_not_exchanged(make_run):
    run = make_run()
    model = run.model
    with pytest.raises(AttributeError, match="a run keeps the model that it was made with"):
        run.model = nn.Linear(4, 3)
    assert run.model is model


def test_an_item_of_the_hyperparameters_says_how_it_is_set(make_run):
    run = make_run()
    with pytest.raises(InvalidHyperparam, match=r"write run\.set\(lr=0\.1\)"):
        run.hyperparams["lr"] = 0.1
    with pytest.raises(InvalidHyperparam, match="unknown hyperparameter 'learning_rate'"):
        run.hyperparams["learning_rate"] = 0.1
