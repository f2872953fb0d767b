"""Models to prune, runs of them, and what is left."""

import itertools

import torch
from torch import nn

import nbopt
from nbopt.techniques.compression.sparsity import Sparsity


def cnn():
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(32, 12), nn.ReLU(), nn.Linear(12, 3))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.attention, self.head = nn.Linear(6, 8), nn.MultiheadAttention(8, 4), nn.Linear(8, 3)

    def forward(self, x):
        x = self.embed(x[:, 0].transpose(0, 1))
        return self.head(self.attention(x, x, x)[0].mean(0))


def data():
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(24) % 3
    return torch.randn(24, 1, 6, 6, generator=generator) + y.view(-1, 1, 1, 1), y


def make(model=None, **settings):
    settings = {"lr": 0.05, "optimizer": "sgd", "batch_size": 8, "epochs": 4, "store": None, **settings}
    return nbopt.Run(cnn() if model is None else model, data(), data(), device="cpu", **settings)


def masks_of(run):
    return run.training.acting.part(Sparsity).masks_now()


def left(run):
    """Return the share of matrices' weights that are not pruned."""
    masks = [mask for mask in masks_of(run).values() if mask.ndim > 1]
    return float(sum(mask.sum() for mask in masks) / sum(mask.numel() for mask in masks))


def two(*sizes):
    return nn.Sequential(nn.Flatten(), *(nn.Linear(a, b) for a, b in itertools.pairwise(sizes)))
