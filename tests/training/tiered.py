"""What the tests of a step's tiers share, beside the fixtures `compiled` and `make_tiered`."""

import pytest
import torch
from torch import nn

from nbopt.training.state import Stepped

STEPS = 4
CHANGES = [{"lr": 0.02}, {"weight_decay": 0.1, "l1": 0.01}, {"dropout": 0.6}, {"dropout": 0.0, "lr": 0.005}]
# A difference in the last of 32 bits may round to another one in 16, which is a hundred thousand times as large.
CLOSE = {"float32": 1e-5, "bfloat16": 2e-3}
MORE = {"sgd": [{"momentum": 0.9}, {"nesterov": True}, {"momentum": 0.0}, {"momentum": 0.5}], "adam": [{"beta1": 0.5}]}

only_compiled = pytest.mark.parametrize("compiled", ["compiled"], indirect=True)


def pull(run, steps):
    """Pull events until so many steps are done, and return after which steps there was one."""
    ends = []
    for event in run.events():
        if isinstance(event, Stepped):
            ends.append(event.step + 1)
            if event.step + 1 >= steps:
                return ends


def switches(run):
    return [(entry.step, entry.new["from"], entry.new["steps"]) for entry in run.journal if entry.name == "switch"]


def batch_norm():
    # No bias ahead of the normalization: it would walk on rounding errors alone, Adam's steps being of one size.
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 8, bias=False), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 3)
    )
