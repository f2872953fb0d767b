"""What steps of many runs draw, each from the generator of its own step: for augmentation first, then dropout masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nbopt.training.compile.step import Layer
from nbopt.training.many.member import OneOfMany

Pair = tuple[Tensor, Tensor]
Rates = tuple[float, ...]

_EXACT = (torch.float32, torch.float64)  # in which a division is one, whether by a number or by a tensor


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
        self, layers: list[Layer], trainings: Sequence[OneOfMany], dropped: Sequence[Rates], ahead: int
    ) -> list[Tensor]:
        """Return the masks of a step for each layer, (runs, ...), or one for all where all draw the same.

        Parameters
        ----------
        layers : list of Layer
            In the order in which they draw, for a batch of the present shape.
        trainings : sequence of OneOfMany
        dropped : sequence of tuple
            What `rates` returns; asked for once for several steps.
        ahead : int
            How many steps after the next one.
        """
        if not layers:
            return []
        seeds = [training.step_seed + training.step + ahead for training in trainings]
        alike: dict[int, list[int]] = {}
        for row, seed in enumerate(seeds):
            alike.setdefault(seed, []).append(row)
        drawn = [_draw_of_seed(layers, trainings, seed, dropped, rows) for seed, rows in alike.items()]
        if len(drawn) == 1:
            return drawn[0]
        groups = [*alike.values()]
        order = torch.tensor([row for rows in groups for row in rows]).argsort().to(layers[0].ones.device)
        found = []
        for layer, masks in zip(layers, zip(*drawn, strict=True), strict=True):
            pairs = zip(masks, groups, strict=True)
            parts = [
                mask if mask.ndim > layer.ones.ndim else mask.expand(len(rows), *mask.shape) for mask, rows in pairs
            ]
            found.append(torch.cat(parts).index_select(0, order))
        return found

    def prepare(
        self, layers: list[Layer], trainings: Sequence[OneOfMany], rows: Sequence[int], batches: Sequence[Pair]
    ) -> tuple[Pair, list[Tensor]]:
        """Return batches as the models are to see them, in one, and the masks that are drawn after that."""
        seen, masks = [], []
        for training, row, batch in zip(trainings, rows, batches, strict=True):
            with training.noise.lock, training.noise.seeded(training.step_seed + training.step):
                seen.append(training.acting.prepare(batch, training=True))
                masks.append(_draw(layers, training, self.rates(layers, [row])[0]))
        x, y = (torch.stack(parts) for parts in zip(*seen, strict=True))
        return (x, y), [torch.stack(each) for each in zip(*masks, strict=True)]

    def rates(self, layers: list[Layer], rows: Sequence[int]) -> list[Rates]:
        """Return how much each layer leaves out, of runs by their places among those that this was made for."""
        names = [layer.name for layer in layers]
        modules = [self._modules[row] for row in rows]
        return [tuple(float(own[name].p) for name in names) for own in modules]


def _draw_seeded(layers: list[Layer], training: OneOfMany, seed: int, rates: Sequence[float]) -> list[Tensor]:
    with training.noise.lock, training.noise.seeded(seed):
        return _draw(layers, training, rates)


def _draw_of_seed(
    layers: list[Layer], trainings: Sequence[OneOfMany], seed: int, dropped: Sequence[Rates], rows: Sequence[int]
) -> list[Tensor]:
    """Return the masks of those runs that draw from one seed, (runs, ...), or one where all draw the same."""
    rates, first = [dropped[row] for row in rows], trainings[rows[0]]
    if len({*rates}) > 1 and (masks := _draw_alike(layers, first, seed, rates)):
        return masks
    drawn = {each: _draw_seeded(layers, first, seed, each) for each in dict.fromkeys(rates)}
    if len(drawn) == 1:
        return drawn[rates[0]]
    return [torch.stack(masks) for masks in zip(*(drawn[each] for each in rates), strict=True)]


def _draw_alike(
    layers: list[Layer], training: OneOfMany, seed: int, rates: Sequence[Sequence[float]]
) -> list[Tensor] | None:
    """Return the masks of runs that draw from one seed, (runs, ...); None where each is to draw by itself.

    A layer keeps what a uniform number below its share decides, so that all of them can compare the same numbers. Torch
    has other ways on other machines: the first run draws as its layers do, and tells whether this is the same.
    """
    generator, shares = training.noise.generator, 1 - torch.tensor(rates, dtype=torch.float64).t()
    if generator is None or any(layer.ones.device.type != "cpu" or layer.ones.dtype not in _EXACT for layer in layers):
        return None
    if any(len({share < 1 for share in own}) > 1 for own in shares.tolist()):
        return None  # who leaves out nothing draws nothing, and the next layer gets other numbers
    expected, masks = _draw_seeded(layers, training, seed, rates[0]), []
    with training.noise.lock, training.noise.seeded(seed):
        for layer, own in zip(layers, shares, strict=True):
            if own[0] == 1:
                masks.append(layer.ones)
                continue
            numbers = torch.empty_like(layer.ones, dtype=torch.float64).uniform_(generator=generator)
            own = own.view(-1, *[1] * numbers.ndim)
            kept = layer.ones.new_empty(len(own), *layer.ones.shape)
            torch.lt(numbers, own, out=kept)  # which writes 1 and 0: a third of the time that `where` takes
            masks.append(kept.mul_((1 / own.to(kept)).nan_to_num(posinf=0.0)))
    pairs = zip(masks, expected, strict=True)
    return masks if all(torch.equal(mask if mask is one else mask[0], one) for mask, one in pairs) else None


def _draw(layers: list[Layer], training: OneOfMany, rates: Sequence[float]) -> list[Tensor]:
    pairs = zip(layers, rates, strict=True)
    return [layer.draw(rate, training.noise.generator) if rate else layer.ones for layer, rate in pairs]
