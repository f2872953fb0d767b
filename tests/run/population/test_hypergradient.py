"""The derivative of the validation loss by hyperparameters, against finite differences."""

import copy

import pytest
import torch
from torch import nn

import nbopt
from nbopt.errors import InvalidHyperparam
from tests.run.population.shared import dense, digits, model_of

__all__ = ["digits"]
pytestmark = pytest.mark.usefixtures("one_torch_thread")

STEPS = 8


def smooth():
    return nn.Sequential(nn.Linear(64, 12), nn.Tanh(), nn.Dropout(0.2), nn.Linear(12, 10)).double()


def measured(run, name, value):
    """Return the validation loss of a branch, STEPS steps further on."""
    branch = run.branch(at=run.step_count, **{name: value})
    branch.step(STEPS)
    branch.set(validate_every=1)
    branch.training.validation_due = True
    next(event for event in branch.events() if type(event).__name__ == "Validated")
    return branch.history.last("val_loss")


@pytest.mark.parametrize(
    ("optimizer", "names"),
    [
        ("sgd", ("lr", "weight_decay", "momentum", "l1")),
        ("adam", ("lr", "beta1", "beta2")),
        ("adamw", ("lr", "weight_decay", "label_smoothing")),
    ],
)
def test_it_is_what_finite_differences_give(digits, optimizer, names):
    x, y = digits
    given = {"optimizer": optimizer, "lr": 0.02, "weight_decay": 0.01, "epochs": 20, "store": None}
    given |= {"momentum": 0.5, "l1": 1e-3} if optimizer == "sgd" else {"label_smoothing": 0.1}
    run = nbopt.Run(model_of(smooth), (x.double(), y), (x.double(), y), schedule="cosine", **given)
    run.step(3)
    before = copy.deepcopy(run.model.state_dict())
    found = run.hypergradient(names, steps=STEPS)
    assert all(torch.equal(before[name], tensor) for name, tensor in run.model.state_dict().items())
    for name in names:
        now, width = run.hyperparams[name], 1e-4 * max(run.hyperparams[name], 0.01)
        slope = (measured(run, name, now + width) - measured(run, name, now - width)) / (2 * width)
        assert found[name] == pytest.approx(slope, rel=0.01), name


def test_what_has_no_derivative_is_said(digits):
    run = nbopt.Run(model_of(dense), digits, digits, store=None)
    with pytest.raises(InvalidHyperparam, match="batch_size"):
        run.hypergradient("batch_size")
    with pytest.raises(ValueError, match="there is no validation"):
        nbopt.Run(model_of(dense), digits, store=None).hypergradient("lr")
