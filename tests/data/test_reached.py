"""Which generators code may draw from is found without running it."""

import functools
import random
from random import shuffle

import numpy as np
import pytest
import torch
from numpy.random import beta
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

from nbopt.data.generators import NUMPYS, PYTHONS
from nbopt.data.reached import find_generators

RNG = np.random.default_rng(0)
OWN = torch.Generator()
LIBRARY = np.random


class Holder:
    def __init__(self, held):
        self.held = held

    def __call__(self, x):
        return self.held(x) if callable(self.held) else x


class Slotted:
    __slots__ = ("held",)

    def __init__(self, held):
        self.held = held


class Base:
    def draw(self):
        return np.random.rand()


class Derived(Base):
    def __call__(self, x):
        return self.draw() * x


class Net(nn.Module):
    def __init__(self, *more):
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.more = more

    def forward(self, x):
        return torch.relu(self.layer(x)) + torch.rand(3) + np.sqrt(len(self.more))


def imports_within(x):
    import random as chance

    return chance.choice(x)


def imports_numpy_within(x):
    from numpy import random as chance

    return chance.normal() * x


def nested(x):
    def inner():
        return random.random()

    return inner() * x


def closed_over(rng):
    return lambda x: rng.normal() * x


def helper(x):
    return RNG.normal() * x


def log(x, seen=[]):  # noqa: B006
    seen.append(x)
    return max(seen)


QUIET = {
    "torch": Net(),
    "a log": log,
    "numpy's functions": lambda x: np.clip(np.array([x]), 0, 1).mean(),
    "a generator made each time": lambda x: np.random.default_rng(x).normal(),
    "the default one": Holder(torch.default_generator),
    "of the system": Holder(random.SystemRandom()),
    "a loader": DataLoader(TensorDataset(torch.zeros(3))),
    "an attribute of that name": lambda x: x.random,
}
SHARED = {
    "random.random": (lambda x: random.random(), [PYTHONS]),
    "imported by name": (lambda x: shuffle(x), [PYTHONS]),
    "in a list": ([1, {"a": shuffle}], [PYTHONS]),
    "within": (imports_within, [PYTHONS]),
    "within, of numpy": (imports_numpy_within, [NUMPYS]),
    "nested": (nested, [PYTHONS]),
    "np.random": (lambda x: np.random.normal(), [NUMPYS]),
    "np.random.seed": (lambda x: np.random.seed(x), [NUMPYS]),
    "beta": (lambda x: beta(1, 1), [NUMPYS]),
    "another name": (lambda x: LIBRARY.rand(), [NUMPYS]),
    "held": (Holder(random), [PYTHONS]),
    "by a base class": (Derived(), [NUMPYS]),
    "in a model": (nn.Sequential(Net(), Net(Derived())), [NUMPYS]),
    "a method": (Derived().draw, [NUMPYS]),
    "partial": (functools.partial(max, key=shuffle), [PYTHONS]),
    "both": (lambda x: random.random() + np.random.rand(), [PYTHONS, NUMPYS]),
}
OWNED = {
    "a global": (helper, [RNG]),
    "by another function": (lambda x: helper(x), [RNG]),
    "held": (Holder(OWN), [OWN]),
    "in a slot": (Slotted(OWN), [OWN]),
    "in a closure": (closed_over(RNG), [RNG]),
    "in a model": (Net(RNG), [RNG]),
    "by a default": (lambda x, rng=RNG: rng.normal(), [RNG]),
    "by a loader": (DataLoader(TensorDataset(torch.zeros(3)), shuffle=True, generator=OWN), [OWN]),
    "by a sampler": (WeightedRandomSampler([1.0], 1, generator=OWN), [OWN]),
}


@pytest.mark.parametrize("case", QUIET)
def test_nothing_is_found_where_nothing_but_torch_draws(case):
    assert find_generators(QUIET[case]) == ([], [], False)


@pytest.mark.parametrize("case", SHARED)
def test_the_libraries_generators_are_found(case):
    root, expected = SHARED[case]
    found = find_generators(root)
    assert set(map(id, found.shared)) == set(map(id, expected)) and found.own == []


@pytest.mark.parametrize("case", OWNED)
def test_generators_of_the_user_s_are_found(case):
    root, expected = OWNED[case]
    assert find_generators(root).own == expected


def test_what_torch_compiles_is_known():
    assert find_generators(torch.compile(Net(), backend="eager")).compiled
    assert find_generators(torch.compile(helper, backend="eager")) == ([RNG], [], True)
    model = Net()
    model.compile(backend="eager")
    assert find_generators(nn.Sequential(model)).compiled


def test_too_much_code_may_draw_from_anything():
    space = {"np": np}
    exec("\n".join(f"def f{k}(x): return f{k + 1}(x)" for k in range(3000)), space)
    assert find_generators(space["f0"]).shared == [PYTHONS, NUMPYS]


class Unwilling:
    """Raises what hasattr does not expect."""

    def __getattr__(self, name):
        raise RuntimeError("not connected")


def test_an_object_that_raises_when_it_is_asked_is_passed_by():
    unwilling = Unwilling()
    assert not find_generators(lambda output, target: unwilling.loss(output, target)).own
