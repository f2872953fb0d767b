"""What the contenders train: made data, and models as anyone would write them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Work(NamedTuple):
    """One model on its data.

    Attributes
    ----------
    title : str
    shape : tuple of int
        Of one sample.
    samples : int
    make : callable
        Returns a model.
    optimizer : type of Optimizer
        ``torch.optim.SGD`` or ``torch.optim.Adam``, with their defaults.
    hidden : int
        Units of the one hidden layer, where the model has but one: scikit-learn can build it then.
    batch : int
    """

    title: str
    shape: tuple[int, ...]
    samples: int
    make: Callable[[], nn.Module]
    optimizer: type[torch.optim.Optimizer]
    hidden: int = 0
    batch: int = 64
    lr: float = 1e-3
    classes: int = 10

    def data(self) -> tuple[Tensor, Tensor]:
        """Return samples and labels, on the CPU."""
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(self.samples, *self.shape, generator=generator)
        return x, torch.randint(self.classes, (self.samples,), generator=generator)

    def model(self) -> nn.Module:
        """Return a model, the same for every contender."""
        torch.manual_seed(0)
        return self.make()


def mlp(*sizes: int) -> nn.Module:
    layers: list[nn.Module] = []
    for number, (before, after) in enumerate(pairwise(sizes)):
        layers += [nn.ReLU()] * bool(number) + [nn.Linear(before, after)]
    return nn.Sequential(*layers)


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 10),
    )


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(1, 32, batch_first=True)
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.gru(x)[0][:, -1])


class Attentive(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(1, 32)
        self.place = nn.Parameter(torch.randn(40, 32) / 32**0.5)
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(self.embed(x) + self.place).mean(1))


SMALL = Work("small MLP, 64-64-10", (64,), 20_000, lambda: mlp(64, 64, 10), torch.optim.SGD, hidden=64, lr=0.01)
CONVOLUTION = Work("small CNN, 28x28", (1, 28, 28), 10_000, cnn, torch.optim.Adam)
ON_CPU = [
    SMALL,
    Work("MLP, 784-256-10", (784,), 60_000, lambda: mlp(784, 256, 10), torch.optim.SGD, hidden=256, lr=0.01),
    CONVOLUTION,
    # The shape of the sequences of MNIST-1D.
    Work("GRU, 40 steps", (40, 1), 4_000, Recurrent, torch.optim.Adam),
    Work("Transformer, 40 steps", (40, 1), 4_000, Attentive, torch.optim.Adam),
]
ON_GPU = [
    SMALL,
    CONVOLUTION,
    Work(
        "wide MLP, saturating", (4096,), 20_000, lambda: mlp(4096, 8192, 8192, 10), torch.optim.SGD, batch=2048, lr=0.01
    ),
]
