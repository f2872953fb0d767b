"""A step in parts, and the same step on the whole batch by a plain loop."""

import torch
from torch import nn
from torch.nn import functional

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(32, 5, generator=GENERATOR)
Y = torch.arange(32) % 3
RARE = torch.where((torch.arange(32) < 20) & (torch.arange(32) % 8 != 0), -100, Y)


def net(*layers):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 3), *layers)


def own_mean(output, target):
    return functional.cross_entropy(output, target)


def own_sum(output, target):
    return functional.cross_entropy(output, target, reduction="sum")
