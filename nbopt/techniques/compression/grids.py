"""Grids of few values for weights and activations, and rounding to them.

Scripts hold these functions as they are written here, so in lines of 88 characters.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Grid:
    """The values ``(k - zero) * scale``, for whole k from ``low`` to ``high``."""

    def __init__(self, scale: Tensor, zero: Tensor | None, low: Any, high: Any) -> None:
        self.scale, self.zero = scale, zero
        self.low, self.high = low, high

    def number(self, weight: Tensor) -> Tensor:
        """Put the k of the nearest value in the place of each weight."""
        weight.mul_(self.scale.reciprocal()).round_()
        if self.zero is not None:
            weight.add_(self.zero)
        elif weight.dtype is not torch.bfloat16:
            return weight  # the largest lies less than half a step beyond the ends
        return weight.clamp_(self.low, self.high)

    def round(self, weight: Tensor) -> Tensor:
        """Return the nearest values, with gradients as if nothing were rounded."""
        rounded = weight.clone()  # which passes gradients on
        values = self.number(rounded.detach())  # the same memory, without gradients
        if self.zero is not None:
            values.sub_(self.zero)
        values.mul_(self.scale)
        return rounded


def find_highest(bits: int, symmetric: bool) -> int:
    """Return the highest whole number of a grid of so many bits."""
    return (1 << (bits - 1 if symmetric else bits)) - 1


def find_grid(
    weight: Tensor,
    high: int | Tensor,
    by_channel: bool,
    symmetric: bool,
    factor: Tensor | None = None,
) -> Grid:
    """Return the grid that the range of a weight asks for.

    A symmetric grid has as many values below 0 as above, ``high`` of each; any other
    one has ``high`` beside the lowest, from the least to the largest weight, 0 among
    them. By channel, each row of the first dimension has a scale of its own. With a
    factor for each row, the grid is that of the weight times the factor, divided by it.
    """
    if factor is not None:
        grid = find_grid(weight * factor, high, by_channel, symmetric)
        return Grid(grid.scale / factor, grid.zero, grid.low, grid.high)
    of = tuple(range(by_channel, weight.ndim))  # dimensions that share a scale
    tiny = torch.finfo(weight.dtype).tiny
    if symmetric:
        scale = weight.abs().amax(of, True).div_(high).clamp_(min=tiny)
        return Grid(scale, None, -high, high)
    least = weight.amin(of, True).clamp_(max=0)
    largest = weight.amax(of, True).clamp_(min=0)
    scale = (largest - least).div_(high).clamp_(min=tiny)
    zero = (least / scale).round_().neg_()
    return Grid(scale, zero, 0 * high, high)


@torch.no_grad()
def first_scale(weight: Tensor, bits: int, by_channel: bool) -> Tensor:
    """Return what a learned scale begins with (Esser et al. 2020, section 2.1).

    That is ``2 mean |w| / sqrt(q)``, q being the highest whole number of a symmetric
    grid, but not more than the range of the weight asks for.
    """
    grid = find_grid(weight, find_highest(bits, True), by_channel, True)
    rows = weight.flatten(1) if by_channel else weight.reshape(1, -1)
    scale = rows.abs().mean(1).mul_(2 / grid.high**0.5).view_as(grid.scale)
    return torch.minimum(scale, grid.scale).clamp_(min=1e-8)


def round_learning(weight: Tensor, scale: Tensor, bits: int) -> Tensor:
    """Return the nearest values of a symmetric grid, with gradients for both.

    They are those of Esser et al. 2020, equations 3 and 5: a weight beyond the grid
    gets none.
    """
    high = 2 ** (bits - 1) - 1
    inside = (weight / scale).clamp(-high, high)
    return (inside + (inside.round() - inside).detach()) * scale


def round_between(x: Tensor, ends: Tensor, bits: int) -> Tensor:
    """Return the nearest values of a grid from the first to the second of two ends.

    0 is one of its values. What lies beyond is cut off, and gets no gradient.
    """
    low, high = ends[0].clamp(max=0), ends[1].clamp(min=0)
    scale = ((high - low) / (2**bits - 1)).clamp(min=torch.finfo(torch.float32).tiny)
    zero = (-low / scale).round().to(torch.int32)
    return torch.fake_quantize_per_tensor_affine(x, scale, zero, 0, 2**bits - 1)
