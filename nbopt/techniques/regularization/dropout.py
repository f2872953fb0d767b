"""Dropout as a live hyperparameter of a model that has such layers."""

from __future__ import annotations

from typing import Any

from torch import nn

from nbopt.hyperparams import Float, Tunable
from nbopt.i18n import _
from nbopt.torch_private import DropoutNd


class Dropout(Tunable):
    """Sets the dropout probability of every layer that has one (Srivastava et al. 2014).

    Until a value is given, each layer keeps its own; the control then shows the largest.
    """

    dropout = Float(
        0.0,
        low=0.0,
        high=0.9,
        ge=0.0,
        lt=1.0,
        label=_("Dropout"),
        group=_("Regularization"),
        help=_("Probability with which a unit is left out of a training step."),
    )

    def __init__(self, model: nn.Module) -> None:
        self._layers = _layers(model)

    @property
    def acts(self) -> bool:
        """Whether any layer leaves units out now."""
        for layer, attribute in self._layers:  # asked in every step: a generator costs as much as ten layers
            if getattr(layer, attribute):
                return True
        return False

    @property
    def rates(self) -> list[float]:
        """Each layer's own probability."""
        return [float(getattr(layer, attribute)) for layer, attribute in self._layers]

    @rates.setter
    def rates(self, rates: list[float]) -> None:
        for (layer, attribute), rate in zip(self._layers, rates, strict=True):
            setattr(layer, attribute, rate)

    @property
    def varies(self) -> bool:
        """Whether layers differ in their probability: the value shown stands for none of them."""
        return len(set(self.rates)) > 1

    def on_change(self, name: str) -> None:
        """Give every layer the new probability."""
        for layer, attribute in self._layers:
            setattr(layer, attribute, self.dropout)


def own_dropout(model: nn.Module) -> float | None:
    """Return the largest dropout probability among the model's layers, or None where it has no such layer."""
    return max(Dropout(model).rates, default=None)


def has_various_dropout(model: nn.Module) -> bool:
    """Return whether the model's layers differ in their dropout probability."""
    return Dropout(model).varies


def _layers(model: nn.Module) -> list[tuple[Any, str]]:
    found: list[tuple[Any, str]] = []
    for module in model.modules():
        if isinstance(module, DropoutNd):
            found.append((module, "p"))
        elif isinstance(module, nn.MultiheadAttention) or (isinstance(module, nn.RNNBase) and module.num_layers > 1):
            found.append((module, "dropout"))
    return found
