"""What steps of many runs draw, each from the generator of its own step: for augmentation first, then dropout masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nbopt.training.compile.step import Layer
from nbopt.training.many.member import OneOfMany
from nbopt.training.many.uniform import (
    Rates,
    Uniform,
    draw,
    draw_numbers,
    draw_seeded,
    find_shares,
    group,
    in_order,
    who_draws,
)

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
        self._trainings = trainings
        self._uniform: Uniform | None = None

    def uniform(self, layers: list[Layer]) -> Uniform:
        """Return what machine code takes in place of masks: as for the steps before, where no rate changed."""
        dropped = self.rates(layers, range(len(self._trainings)))
        if self._uniform is None or not self._uniform.is_of(layers, dropped):
            self._uniform = Uniform(layers, self._trainings, dropped)
        else:
            self._uniform.begin()
        return self._uniform

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
        groups = group(seeds)
        drawn = [_draw_of_seed(layers, trainings, seeds[rows[0]], dropped, rows) for rows in groups]
        return in_order(layers, drawn, groups)

    def prepare(
        self, layers: list[Layer], trainings: Sequence[OneOfMany], rows: Sequence[int], batches: Sequence[Pair]
    ) -> tuple[Pair, list[Tensor]]:
        """Return batches as the models are to see them, in one, and the masks that are drawn after that."""
        seen, masks = [], []
        for training, row, batch in zip(trainings, rows, batches, strict=True):
            with training.noise.lock, training.noise.seeded(training.step_seed + training.step):
                seen.append(training.acting.prepare(batch, training=True))
                masks.append(draw(layers, training, self.rates(layers, [row])[0]))
        x, y = (torch.stack(parts) for parts in zip(*seen, strict=True))
        return (x, y), [torch.stack(each) for each in zip(*masks, strict=True)]

    def rates(self, layers: list[Layer], rows: Sequence[int]) -> list[Rates]:
        """Return how much each layer leaves out, of runs by their places among those that this was made for."""
        names = [layer.name for layer in layers]
        modules = [self._modules[row] for row in rows]
        return [tuple(float(own[name].p) for name in names) for own in modules]


def _draw_of_seed(
    layers: list[Layer], trainings: Sequence[OneOfMany], seed: int, dropped: Sequence[Rates], rows: Sequence[int]
) -> list[Tensor]:
    """Return the masks of those runs that draw from one seed, (runs, ...), or one where all draw the same."""
    rates, first = [dropped[row] for row in rows], trainings[rows[0]]
    if len({*rates}) > 1 and (masks := _draw_alike(layers, first, seed, rates)):
        return masks
    drawn = {each: draw_seeded(layers, first, seed, each) for each in dict.fromkeys(rates)}
    if len(drawn) == 1:
        return drawn[rates[0]]
    return [torch.stack(masks) for masks in zip(*(drawn[each] for each in rates), strict=True)]


def _draw_alike(layers: list[Layer], training: OneOfMany, seed: int, rates: Sequence[Rates]) -> list[Tensor] | None:
    """Return the masks of runs that draw from one seed, (runs, ...); None where each is to draw by itself.

    All of them compare the same numbers. Torch has other ways on other machines: the first run draws as its layers do,
    and tells whether this is the same.
    """
    if training.noise.generator is None or any(layer.ones.device.type != "cpu" for layer in layers):
        return None
    if len({*map(who_draws, rates)}) > 1:
        return None
    numbers, shares = draw_numbers(layers, training, seed, rates[0]), find_shares(layers, rates)
    expected, masks = draw_seeded(layers, training, seed, rates[0]), []
    for layer, own, share in zip(layers, numbers, shares.unbind(1), strict=True):
        kept, factor = share.view(len(rates), 2, *[1] * own.ndim).unbind(1)
        mask = layer.ones.new_empty(len(rates), *layer.ones.shape)
        torch.lt(own, kept, out=mask)  # which writes 1 and 0: a third of the time that `where` takes
        masks.append(mask.mul_(factor.to(mask)))
    return masks if all(torch.equal(mask[0], one) for mask, one in zip(masks, expected, strict=True)) else None
