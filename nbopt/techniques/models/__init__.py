"""Model families to start from: each a few lines of torch, with depth, width and activation declared.

They are public as ``nbopt.models``:

>>> model = nbopt.models.MLP(inputs=64, outputs=10, depth=2, width=128, activation="gelu")
>>> model(torch.zeros(5, 64)).shape
torch.Size([5, 10])

Read one, copy it, change it: there is nothing else to know. Weights are drawn from torch's generator.
"""

from __future__ import annotations

from nbopt.techniques.drawn_weights import initialize, load_weights
from nbopt.techniques.models.base import Model
from nbopt.techniques.models.cells import Cells
from nbopt.techniques.models.convolutional import CNN, Residual, ResNet
from nbopt.techniques.models.dense import MLP, Linear
from nbopt.techniques.models.series import GRU, LSTM, Transformer

__all__ = [
    "CNN",
    "FAMILIES",
    "GRU",
    "LSTM",
    "MLP",
    "Cells",
    "Linear",
    "Model",
    "ResNet",
    "Residual",
    "Transformer",
    "initialize",
    "load_weights",
]

FAMILIES: dict[str, type[Model]] = {
    "linear": Linear,
    "mlp": MLP,
    "cnn": CNN,
    "resnet": ResNet,
    "cells": Cells,
    "gru": GRU,
    "lstm": LSTM,
    "transformer": Transformer,
}
