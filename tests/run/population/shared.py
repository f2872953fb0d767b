"""What tests of populations share."""

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

import nbopt

SETTINGS = {"epochs": 2, "batch_size": 32, "device": "cpu"}


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    return torch.tensor(x[:200] / 16, dtype=torch.float32), torch.tensor(y[:200])


def dense():
    return nn.Sequential(nn.Linear(64, 12), nn.ReLU(), nn.Dropout(0.2), nn.Linear(12, 10))


def convolutional():
    layers = [nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(36, 10))


def model_of(make):
    torch.manual_seed(3)
    return make()


def assert_same(member, run, tolerance=1e-4):
    """A member is the single run: weights, buffers, curves, journal of changes."""
    assert member.step_count == run.step_count
    for name in run.history.names:
        steps, values = run.history[name]
        assert member.history[name][0].tolist() == steps.tolist()
        assert member.history[name][1].tolist() == pytest.approx(values.tolist(), rel=tolerance, abs=tolerance)
    for (name, own), other in zip(run.model.state_dict().items(), member.model.state_dict().values(), strict=True):
        own, other = (torch.view_as_real(each) if each.is_complex() else each for each in (own, other))
        assert float((own - other).double().norm()) <= tolerance * max(1.0, float(own.double().norm())), name
    changed = [[entry[:4] for entry in each.journal.changes()] for each in (member, run)]
    assert changed[0] == changed[1]


def single_of(member, make, digits):
    """Return the run that does by itself what a member's values and journal tell of."""
    given = {**member.spec.hyperparams, **member.initial}
    own = {name: given[name] for name in {*member.spec.hyperparams, "optimizer"}}
    run = nbopt.Run(model_of(make), digits, 0.2, seed=member.seed, store=None, metrics=member.spec.metrics, **own)
    for entry in member.journal.changes():
        if entry.step > run.step_count:
            run.step(entry.step - run.step_count)
        run.set(**{entry.name: entry.new})
    if member.step_count > run.step_count:
        run.step(member.step_count - run.step_count)
    return run
