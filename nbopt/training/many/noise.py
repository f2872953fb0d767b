"""What steps of many runs draw, each from the generator of its own step: for augmentation first, then dropout masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nbopt.training.compile.step import Layer
from nbopt.training.many.member import OneOfMany

Pair = tuple[Tensor, Tensor]


class StepNoise:
    """Draws for many runs.

    Parameters
    ----------
    layers : list of Layer
        The dropout layers.
    trainings : sequence of OneOfMany
    """

    def __init__(self, layers: list[Layer], trainings: Sequence[OneOfMany]) -> None:
        self._modules: list[dict[str, Any]] = [
            {layer.name: training.model.get_submodule(layer.name) for layer in layers} for training in trainings
        ]

    def masks(
        self, layers: list[Layer], trainings: Sequence[OneOfMany], rows: Sequence[int], ahead: int
    ) -> list[Tensor]:
        """Return the masks of a step for each layer, (runs, ...), or one for all where all draw the same.

        Parameters
        ----------
        layers : list of Layer
            In the order in which they draw, for a batch of the present shape.
        trainings : sequence of OneOfMany
        rows : sequence of int
            Their places among those that this was made for.
        ahead : int
            How many steps after the next one.
        """
        if not layers:
            return []
        drawn: dict[Any, list[Tensor]] = {}
        keys = []
        for training, row in zip(trainings, rows, strict=True):
            rates = self._rates(layers, row)
            seed = training.step_seed + training.step + ahead
            keys.append((seed, rates))
            if keys[-1] not in drawn:
                with training.noise.lock, training.noise.seeded(seed):
                    drawn[keys[-1]] = _draw(layers, training, rates)
        if len(drawn) == 1:
            return drawn[keys[0]]
        return [torch.stack([drawn[key][layer] for key in keys]) for layer in range(len(layers))]

    def prepare(
        self, layers: list[Layer], trainings: Sequence[OneOfMany], rows: Sequence[int], batches: Sequence[Pair]
    ) -> tuple[Pair, list[Tensor]]:
        """Return batches as the models are to see them, in one, and the masks that are drawn after that."""
        seen, masks = [], []
        for training, row, batch in zip(trainings, rows, batches, strict=True):
            with training.noise.lock, training.noise.seeded(training.step_seed + training.step):
                seen.append(training.acting.prepare(batch, training=True))
                masks.append(_draw(layers, training, self._rates(layers, row)))
        x, y = (torch.stack(parts) for parts in zip(*seen, strict=True))
        return (x, y), [torch.stack(each) for each in zip(*masks, strict=True)]

    def _rates(self, layers: list[Layer], row: int) -> tuple[float, ...]:
        modules = self._modules[row]
        return tuple(float(modules[layer.name].p) for layer in layers)


def _draw(layers: list[Layer], training: OneOfMany, rates: Sequence[float]) -> list[Tensor]:
    pairs = zip(layers, rates, strict=True)
    return [layer.draw(rate, training.noise.generator) if rate else layer.ones for layer, rate in pairs]
