"""Layers of torch that leave units out, and where each keeps the probability of it."""

from __future__ import annotations

from torch import nn

from nbopt.torch_private import DropoutNd


def probability_of(module: nn.Module) -> str:
    """Return the attribute that holds a layer's probability of leaving a unit out; "" if it never does."""
    if isinstance(module, DropoutNd):
        return "p"
    recurrent = isinstance(module, nn.RNNBase) and module.num_layers > 1
    return "dropout" if recurrent or isinstance(module, nn.MultiheadAttention) else ""


def leaves_out(module: nn.Module) -> bool:
    """Whether a layer leaves units out, while it trains."""
    name = probability_of(module)
    return bool(name and getattr(module, name))
