"""The networks of the playground."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from nbopt.i18n import N_
from nbopt.run.run import Run

ACTIVATIONS: dict[str, tuple[str, type[nn.Module]]] = {
    "tanh": ("tanh", nn.Tanh),
    "relu": ("ReLU", nn.ReLU),
    "sigmoid": (N_("sigmoid"), nn.Sigmoid),
}
"""By name: what a person reads, and the layer."""


def make_network(depth: int, width: int, activation: str, seed: int) -> nn.Sequential:
    """Make a network of two inputs and two scores; the same arguments give the same weights.

    Parameters
    ----------
    depth : int
        Hidden layers; with 0, it is a logistic regression.
    width : int
        Units in each of them.
    activation : str
        One of `ACTIVATIONS`.
    seed : int
    """
    layers: list[nn.Module] = []
    inputs = 2
    with torch.random.fork_rng(devices=[]):  # the user's own random numbers go on as if nothing had been
        torch.manual_seed(seed)
        for _layer in range(depth):
            layers += [nn.Linear(inputs, width), ACTIVATIONS[activation][1](), nn.Dropout(0.0)]
            inputs = width
        layers.append(nn.Linear(inputs, 2))
    return nn.Sequential(*layers)


@torch.no_grad()
def changed_weights(run: Run) -> Mapping[str, Tensor]:
    """Return the weights that techniques make of the network's own, by name; none where there are no such."""
    if not run.worker.has_begun or not run.training.acting.change_weights:
        return {}
    return run.training.acting.weights()
