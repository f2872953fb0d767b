"""The numbers by which dropout layers decide what they keep, drawn once for all runs of a seed.

A layer keeps what a uniform number below its share decides. So masks of any shares follow from the same numbers, and
machine code makes them where it needs them.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from nbopt.training.compile.step import Layer
from nbopt.training.many.member import OneOfMany

Rates = tuple[float, ...]


class Uniform:
    """What machine code takes in place of the masks of many runs.

    Parameters
    ----------
    layers : list of Layer
        In the order in which they draw.
    trainings : sequence of OneOfMany
    dropped : sequence of tuple
        How much each layer of each run leaves out.

    Attributes
    ----------
    shares : Tensor
        What `mask_of` takes of each, (runs, layers, 2).
    alike : bool
        Whether all runs have the same numbers.
    """

    def __init__(self, layers: list[Layer], trainings: Sequence[OneOfMany], dropped: Sequence[Rates]) -> None:
        self._layers, self._trainings, self._dropped = layers, trainings, dropped
        self.shares = find_shares(layers, dropped)
        first = _seed_of(trainings[0], 0)
        self._drawn = bool(layers) and _follow(layers, trainings[0], first, dropped[0], self.shares[0])
        self._kinds: list[Hashable] = [*map(who_draws, dropped)] if self._drawn else [*dropped]
        self.begin()

    def begin(self) -> None:
        """Begin with the next step."""
        keys = zip([_seed_of(training, 0) for training in self._trainings], self._kinds, strict=True)
        self._groups = group([*keys]) if self._layers else [[*range(len(self._trainings))]]
        self.alike = len(self._groups) == 1

    def is_of(self, layers: list[Layer], dropped: Sequence[Rates]) -> bool:
        """Whether it is of these layers and rates."""
        return self._layers is layers and self._dropped == dropped

    def of(self, ahead: int) -> list[Tensor]:
        """Return the numbers of each layer (...) if all have the same, or (runs, ...), so many steps after the next."""
        found = []
        for rows in self._groups if self._layers else ():
            training, rates = self._trainings[rows[0]], self._dropped[rows[0]]
            given = self._layers, training, _seed_of(training, ahead), rates
            found.append(draw_numbers(*given) if self._drawn else [*map(_number, draw_seeded(*given))])
        return in_order(self._layers, found, self._groups)

    def most(self, numbers: int) -> int:
        """Return of how many steps there are so many numbers, at least one."""
        runs = 1 if self.alike else len(self._trainings)
        return max(1, numbers // max(1, runs * sum(layer.ones.numel() for layer in self._layers)))


def draw_seeded(layers: list[Layer], training: OneOfMany, seed: int, rates: Sequence[float]) -> list[Tensor]:
    """Return the masks of a run as its layers draw them."""
    with training.noise.lock, training.noise.seeded(seed):
        return draw(layers, training, rates)


def draw(layers: list[Layer], training: OneOfMany, rates: Sequence[float]) -> list[Tensor]:
    """Return the masks of a run from where its generator is."""
    pairs = zip(layers, rates, strict=True)
    return [layer.draw(rate, training.noise.generator) if rate else layer.ones for layer, rate in pairs]


def draw_numbers(layers: list[Layer], training: OneOfMany, seed: int, rates: Sequence[float]) -> list[Tensor]:
    """Return what each layer compares with its share, (...), in 64 bits; zeros for one that does not draw."""
    generator, pairs = training.noise.generator, zip(layers, who_draws(rates), strict=True)
    with training.noise.lock, training.noise.seeded(seed):
        numbers = [(torch.zeros_like(layer.ones, dtype=torch.float64), draws) for layer, draws in pairs]
        return [own.uniform_(generator=generator) if draws else own for own, draws in numbers]


def who_draws(rates: Sequence[float]) -> tuple[bool, ...]:
    """Return which layers draw: where nothing is left out, the next layer gets these numbers."""
    return tuple(rate > 0 for rate in rates)


def find_shares(layers: list[Layer], dropped: Sequence[Rates]) -> Tensor:
    """Return of each run and layer the share that is kept, and by what that is multiplied: (runs, layers, 2)."""

    def find(layer: Layer, rate: float) -> tuple[float, float]:
        return 1 - rate, float(layer.ones.new_ones(()).div_(1 - rate))

    known = {rates: [find(*pair) for pair in zip(layers, rates, strict=True)] for rates in {*dropped}}
    return torch.tensor([known[rates] for rates in dropped], dtype=torch.float64).view(len(dropped), len(layers), 2)


def mask_of(numbers: Tensor, share: Tensor, kind: torch.dtype) -> Tensor:
    """Return the mask of a layer (...), given its numbers (...) and its share (2,)."""
    return torch.where(numbers < share[0], share[1].to(kind), 0.0)


def group(keys: Sequence[Hashable]) -> list[list[int]]:
    """Return the places of those that are the same."""
    found: dict[Hashable, list[int]] = {}
    for place, key in enumerate(keys):
        found.setdefault(key, []).append(place)
    return [*found.values()]


def in_order(layers: list[Layer], found: Sequence[list[Tensor]], groups: Sequence[Sequence[int]]) -> list[Tensor]:
    """Return what was found for groups of runs, each (...) or (runs, ...), for all; that of a single one as it is."""
    if len(found) < 2:
        return [*found[0]] if found else []
    order = torch.tensor([row for rows in groups for row in rows]).argsort().to(layers[0].ones.device)
    joined = []
    for layer, tensors in zip(layers, zip(*found, strict=True), strict=True):
        pairs, ndim = zip(tensors, groups, strict=True), layer.ones.ndim
        parts = [own if own.ndim > ndim else own.expand(len(rows), *own.shape) for own, rows in pairs]
        joined.append(torch.cat(parts).index_select(0, order))
    return joined


def _seed_of(training: OneOfMany, ahead: int) -> int:
    return training.step_seed + training.step + ahead


def _follow(layers: list[Layer], training: OneOfMany, seed: int, rates: Rates, shares: Tensor) -> bool:
    """Whether masks of a run follow from uniform numbers: torch has other ways on other machines."""
    if training.noise.generator is None or any(layer.ones.device.type != "cpu" for layer in layers):
        return False
    found = draw_numbers(layers, training, seed, rates), shares, draw_seeded(layers, training, seed, rates)
    each = zip(layers, *found, strict=True)
    return all(torch.equal(mask_of(own, share, layer.ones.dtype), mask) for layer, own, share, mask in each)


def _number(mask: Tensor) -> Tensor:
    """Return numbers from which a mask follows, whatever share is kept."""
    return (mask == 0).double()
