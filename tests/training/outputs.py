"""A net with several outputs, its data and runs of it."""

from collections import namedtuple
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

from nbopt import Run

Pair = namedtuple("Pair", "digit angle")
LOSS = {"digit": "cross_entropy", "angle": (0.3, "mse")}
METRICS = {"digit": ["accuracy", "f1"], "angle": "mae"}


@dataclass
class Both:
    digit: torch.Tensor
    angle: torch.Tensor


FORMS = {
    "dict": lambda digit, angle: {"digit": digit, "angle": angle},
    "named tuple": Pair,
    "dataclass": Both,
    "tuple": lambda digit, angle: (digit, angle),
    "list": lambda digit, angle: [digit, angle],
    "nested": lambda digit, angle: {"heads": {"digit": digit, "angle": [angle]}},
}
LOSSES = {
    **dict.fromkeys(FORMS, LOSS),
    **{key: {0: "cross_entropy", 1: (0.3, "mse")} for key in ["tuple", "list"]},
    "nested": {"heads": {"digit": "cross_entropy", "angle": {0: (0.3, "mse")}}},
}


class Net(nn.Module):
    """Two heads on one body, whose outputs come in a container."""

    def __init__(self, form=FORMS["dict"], dropout=0.0):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Dropout(dropout))
        self.digit, self.angle = nn.Linear(8, 3), nn.Linear(8, 1)
        self.form = form

    def forward(self, x):
        h = self.body(x)
        return self.form(self.digit(h), self.angle(h))


def data(count=24, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 5, generator=generator)
    return x, torch.arange(count) % 3, x[:, 0] - x[:, 1]


def make(form="dict", train=None, **settings):
    x, digit, angle = data()
    given = (x, FORMS["dict"](digit, angle))
    settings = {"loss": LOSS, "metrics": METRICS, "batch_size": 8, "epochs": 2, "lr": 0.01, "store": None, **settings}
    net = settings.pop("net", None) or Net(FORMS[form])
    return Run(net, given if train is None else train, **{"val": train or given, "device": "cpu", **settings})


class Named(Dataset):
    def __init__(self, x, digit, angle):
        self.rows = list(zip(x, digit, angle, strict=True))

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        x, digit, angle = self.rows[index]
        return x, {"digit": digit, "angle": angle}


def assert_same(run, other):
    assert set(run.history.names) == set(other.history.names)
    for name in set(run.history.names) - {"lr"}:
        assert np.array_equal(run.history[name][1], other.history[name][1], equal_nan=True), name
    for one, two in zip(run.model.state_dict().values(), other.model.state_dict().values(), strict=True):
        assert torch.equal(one, two)


def replayed(run):
    again = run.replay()
    again.wait(60)
    assert again.exact is not False
    return again
