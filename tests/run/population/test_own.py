"""Losses, forward functions and models of the user's own, in steps of all members at once."""

import functools
import re

import pytest
import torch
from torch import nn
from torch.nn import functional

import nbopt
from tests.run.population.shared import SETTINGS, assert_same, dense, digits, model_of

__all__ = ["digits"]
pytestmark = pytest.mark.usefixtures("one_torch_thread")
SCALE = 2.0
COUNTED = {"steps": 0}


def focal(output, target):
    chosen = functional.log_softmax(output, 1).gather(1, target[:, None])[:, 0]
    return -(SCALE * (1 - chosen.exp()) ** 2 * chosen).mean()


def brightened(model, batch):
    x, y = batch
    return model(x * SCALE), y


def shifted(model, batch):
    """Its targets are others than those of the data."""
    x, y = batch
    return model(x), (y + 1) % 10


class Focal(nn.Module):
    def forward(self, output, target):
        return focal(output, target)


class Counting(nn.Module):
    """What it computes depends on how often it was called."""

    def __init__(self):
        super().__init__()
        self.layers = dense()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return self.layers(x) * (1 + self.calls % 3)


class Summed(nn.Module):
    """Of two weights, whose gradients are one tensor, and one whose gradient is one number for all."""

    def __init__(self):
        super().__init__()
        self.base, self.more = nn.Linear(64, 10), nn.Parameter(torch.randn(10, 64) / 8)
        self.shift = nn.Parameter(torch.zeros(7))

    def forward(self, x):
        return functional.linear(x, self.base.weight + self.more, self.base.bias) * (1 + self.shift.sum())


def counted(output, target):
    COUNTED["steps"] += 1
    return functional.cross_entropy(output, target)


def noisy(output, target):
    return functional.cross_entropy(output + torch.rand(()), target)


def scripted():
    return torch.jit.script(nn.Sequential(nn.Linear(64, 12), nn.Tanh(), nn.Linear(12, 10)))


def compiled():
    return torch.compile(dense(), backend="eager")


def repeated():
    layer = nn.Linear(64, 64)
    return nn.Sequential(layer, nn.Tanh(), layer, nn.Linear(64, 10))


def compare(digits, given, make=dense):
    """Return how a population is stepped, once its members are the single runs."""
    settings = {**SETTINGS, "optimizer": "adam", "metrics": ["accuracy"], **given}
    population = nbopt.Population(model_of(make), digits, 0.2, lr=[0.003, 0.01, 0.02], seed=[0, 0, 1], **settings)
    population.step(4)
    population.set(lr=0.005, members=[1])
    population.fit()
    for number, (rate, seed) in enumerate([(0.003, 0), (0.01, 0), (0.02, 1)]):
        run = nbopt.Run(model_of(make), digits, 0.2, lr=rate, seed=seed, store=None, **settings)
        run.step(4)
        if number == 1:
            run.set(lr=0.005)
        assert_same(population[number], run.fit())
    return population.tier


@pytest.mark.parametrize(
    "given",
    [
        {"loss": focal},
        {"loss": Focal()},
        {"loss": nn.CrossEntropyLoss(label_smoothing=0.1)},
        {"loss": functools.partial(functional.cross_entropy, label_smoothing=0.1)},
        {"forward": brightened},
        {"forward": shifted, "loss": focal},
    ],
    ids=["function", "module", "torch's", "partial", "forward", "both"],
)
def test_own_losses_and_forward_functions_are_done_for_all_members_at_once(digits, given):
    assert compare(digits, given) == "all members at once"


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_gradients_that_are_one_tensor_are_changed_each_by_itself(digits, optimizer):
    assert compare(digits, {"weight_decay": 0.1, "optimizer": optimizer}, Summed) == "all members at once"


@pytest.mark.parametrize(
    ("given", "make", "reason"),
    [
        ({"loss": counted}, dense, "COUNTED, a global, a Python object \\(dict\\) that may change"),
        ({"loss": noisy}, dense, "code of your own draws random numbers"),
        ({}, Counting, "calls"),
        ({}, scripted, "a script of torch.jit"),
        ({}, compiled, "torch.compile made part"),
        ({}, repeated, "one module in two places"),
    ],
    ids=["counted", "noisy", "counting", "scripted", "compiled", "repeated"],
)
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_what_keeps_something_from_call_to_call_is_done_one_member_after_the_other(digits, given, make, reason):
    population = nbopt.Population(model_of(make), digits, 0.2, lr=[0.003, 0.01], **{**SETTINGS, **given})
    population.step(4)
    assert population.tier.startswith("one member after the other (")
    assert re.search(reason, population.tier)
    if make is Counting:
        compare(digits, given, make)
