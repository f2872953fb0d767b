"""Runs whose sizes are looked at."""

import torch
from torch import nn

import nbopt


def data(count=60):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, 6, generator=generator)
    return x, (x[:, 0] * x[:, 1] > 0).long()


def make_run(**settings):
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.Tanh(), nn.Dropout(0.2), nn.Linear(12, 2))
    x, y = data()
    settings = {"val": data(40), "metrics": ["accuracy"], "batch_size": 20, "epochs": 9, "lr": 0.05, **settings}
    return nbopt.Run(model, (x, y), store=None, **settings)


def do(slices):
    beside = None
    try:
        while True:
            beside = slices.send(beside and beside())
    except StopIteration as end:
        return end.value


def loss(run):
    x, y = data(40)
    return float(nn.functional.cross_entropy(run.predict(x), y))


def accuracy(run):
    x, y = data(40)
    return float((run.predict(x).argmax(1) == y).double().mean())
