"""Models in two parts that are tied together, and runs of them to be copied."""

import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, tie=None):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.inner, self.outer = nn.Linear(4, 8), nn.Linear(8, 3)
        self.act = self.tie()

    def forward(self, x):
        return self.outer(torch.relu(self.act(x)))


class Tying(Block):
    def tie(self):
        return self.inner


def begin(make_run, model, **settings):
    settings.setdefault("optimizer", "sgd")
    return make_run(model, **{"batch_size": 20, "lr": 0.1, "epochs": 99, "seed": 3, **settings})


class Holding(Block):
    def __init__(self, held):
        self.held = held
        super().__init__()

    def tie(self):
        self.inside = {"deep": [self.__dict__.pop("held")]}
        return self.inner
