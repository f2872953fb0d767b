"""Small images, a network that convolves them, and the batches and optimizers of a loop written by hand."""

import torch
from torch import nn

from nbopt.data.noise import ORDER, derive_seed

BATCH, SAMPLES = 16, 48

KINDS = {
    "sgd": ({"optimizer": "sgd", "momentum": 0.9}, lambda w: torch.optim.SGD(w, lr=0.05, momentum=0.9)),
    "adam": ({"optimizer": "adam"}, lambda w: torch.optim.Adam(w, lr=0.05, fused=True)),
    "adamw": ({"optimizer": "adamw"}, lambda w: torch.optim.AdamW(w, lr=0.05, weight_decay=0.0, fused=True)),
    "rmsprop": ({"optimizer": "rmsprop"}, lambda w: torch.optim.RMSprop(w, lr=0.05)),
    "adagrad": ({"optimizer": "adagrad"}, lambda w: torch.optim.Adagrad(w, lr=0.05)),
}


def net(outputs=3):
    torch.manual_seed(0)
    hidden = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Tanh(), nn.Conv2d(8, 4, 3)
    return nn.Sequential(*hidden, nn.Flatten(), nn.Linear(144, outputs))


def weights(model):
    return torch.cat([value.detach().flatten() for value in model.state_dict().values()])


def batches(data, steps, size=BATCH):
    """Return a run's first batches."""
    found, epoch = [], 0
    while len(found) < steps:
        order = torch.randperm(len(data[0]), generator=torch.Generator().manual_seed(derive_seed(0, ORDER, epoch)))
        found += [tuple(column[rows] for column in data) for rows in order.split(size)]
        epoch += 1
    return found[:steps]
