"""Models that read names, attributes and closures in their forward pass."""

import functools
import math
import random

import torch
from torch import nn

NUMBER = 1.0
STATE = {"now": 1.0}


def helper(x, factor=2.0):
    return torch.relu(x) * factor * NUMBER


def inner_helper(x):
    return x * STATE["now"]


@functools.lru_cache
def table(n):
    return math.sqrt(n)


class Model(nn.Module):
    """A layer, and what a test makes of its output."""

    const = 3.0
    table = {"a": 1.0}  # noqa: RUF012

    def __init__(self, **attributes):
        super().__init__()
        self.layer, self.other = nn.Linear(4, 3), nn.Linear(4, 3)
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, x):
        return self.layer(x)

    @property
    def prop(self):
        return self.layer.bias * NUMBER

    @property
    def spoilt(self):
        return STATE["now"]

    @functools.cached_property
    def cached(self):
        return NUMBER

    def method(self, x):
        return self.layer(x) * NUMBER

    def careless_method(self, x):
        return x * random.random()


def model_of(forward, **attributes):
    return type("Cooled", (Model,), {"forward": forward})(**attributes)


def closing_over(value):
    return lambda self, x: self.layer(x) * value


class Config:
    scale = 1.0

    def factor(self):
        return self.scale


def tagged(x):
    return x * tagged.scale


tagged.scale = 1.0
