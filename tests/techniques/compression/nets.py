"""Data, a network and runs of the tests beside."""

import torch
from torch import nn

import nbopt


def data():
    """Return 24 images in three classes."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(24) % 3
    return torch.randn(24, 1, 6, 6, generator=generator) + y.view(-1, 1, 1, 1), y


def net():
    """Return a network with a convolution, batch norm and two layers more: 0, 4 and 6."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten(), nn.Linear(64, 9), nn.ReLU(), nn.Linear(9, 3)
    )


def make(model=None, **settings):
    """Return a run."""
    settings = {"batch_size": 8, "epochs": 4, "optimizer": "sgd", "lr": 0.05, "store": None, **settings}
    return nbopt.Run(model or net(), data(), data(), **settings)
