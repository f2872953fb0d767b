"""What batch normalization knows of its inputs, measured anew."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nbopt.torch_private import BatchNorm
from nbopt.training.trial import watch_many

if TYPE_CHECKING:
    from nbopt.training.training import Training


def measure_norms(training: Training) -> None:
    """Have batch normalization hold the means and variances of training samples, up to 4,096 of the epoch's order.

    Weights that were averaged make less of them vary than those of either model (Jordan et al. 2023, REPAIR). Layers in
    evaluation mode keep what they hold.
    """
    layers = [layer for layer in find_norms(training.model) if layer.training]
    if layers:
        found: list[list[Tensor]] = []
        watch_many(training, _counting(layers, found))
        with torch.no_grad():
            for layer, (mean, var) in zip(layers, found, strict=True):
                _of(layer)[0].copy_(mean)
                _of(layer)[1].copy_(var)


def find_norms(model: nn.Module) -> list[BatchNorm]:
    """Return the layers that hold means and variances of their inputs."""
    layers = [one for one in model.modules() if isinstance(one, BatchNorm)]
    return [one for one in layers if one.running_mean is not None]


@contextmanager
def _counting(layers: list[BatchNorm], found: list[list[Tensor]]) -> Iterator[None]:
    """Have layers count all batches alike meanwhile, and put what they found into ``found``."""
    before = [(layer, layer.momentum) for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
    try:
        yield
        found += [[tensor.clone() for tensor in _of(layer)] for layer in layers]
    finally:
        for layer, momentum in before:
            layer.momentum = momentum


def _of(layer: Any) -> tuple[Tensor, Tensor]:
    return layer.running_mean, layer.running_var
