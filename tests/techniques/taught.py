"""A net, its teacher, and runs of it."""

import torch
from torch import nn

import nbopt


def net(width=4, classes=3, seed=0):
    torch.manual_seed(seed)
    conv = nn.Conv2d(1, width, 3), nn.ReLU(), nn.Conv2d(width, width, 3), nn.ReLU()
    return nn.Sequential(*conv, nn.Flatten(), nn.Linear(4 * width, classes))


def teacher(classes=3):
    return net(8, classes, seed=5)


def dense(width, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(36, width), nn.ReLU(), nn.Linear(width, 3))


def data():
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(24) % 3
    return torch.randn(24, 1, 6, 6, generator=generator) + y.view(-1, 1, 1, 1), y


def make(*techniques, model=None, **settings):
    settings = {"lr": 0.05, "optimizer": "sgd", "batch_size": 8, "epochs": 4, "store": None, **settings}
    return nbopt.Run(model or net(), data(), data(), device="cpu", techniques=techniques, **settings)


ALL = {"distill_weight": 0.3, "attention_weight": 2.0, "feature_weight": 0.5}
