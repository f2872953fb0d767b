"""A net, and what a hand may change in it and in its optimizer."""

import torch
from torch import nn


def net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.0), nn.Linear(8, 3))


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def set_group(**settings):
    return lambda model, optimizer: optimizer.param_groups[0].update(settings)


@torch.no_grad()
def scale(model, optimizer):
    model[3].weight.mul_(-1)


MADE = {
    "sgd": lambda model: torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
    "adam": lambda model: torch.optim.Adam(model.parameters(), lr=0.1, fused=True),
}
