"""How a model's weights lie while they are updated: each by itself, or all in one row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor


class Layout(Protocol):
    """Turns tensors shaped as the weights are into the blocks that an update is done on, and back."""

    def join(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return the blocks."""

    def cut(self, blocks: Sequence[Tensor]) -> list[Tensor]:
        """Return the tensors."""

    def penalize(self, gradients: list[Tensor], weights: list[Tensor], pull: Tensor) -> list[Tensor]:
        """Return blocks of gradients with what pulls weights by their signs, but no biases."""


class Apart:
    """Each tensor is a block: a compiler does them together where that pays."""

    def join(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return the blocks."""
        return list(tensors)

    cut = join

    def penalize(self, gradients: list[Tensor], weights: list[Tensor], pull: Tensor) -> list[Tensor]:
        """Return blocks of gradients with what pulls weights by their signs."""
        pairs = zip(gradients, weights, strict=True)
        return [gradient + _pulled(weight, pull) if weight.ndim > 1 else gradient for gradient, weight in pairs]


class Joined:
    """All tensors are one block (n,): a few large operations, where each small one costs a launch of its own.

    Each tensor keeps its order in memory (channels last, say), so that neither way rearranges anything.

    Parameters
    ----------
    like : sequence of Tensor
        Dense tensors of the shapes to come; matrices come first.
    """

    def __init__(self, like: Sequence[Tensor]) -> None:
        self._orders = [_order(tensor) for tensor in like]
        self._shapes = [[tensor.shape[dim] for dim in order] for tensor, order in zip(like, self._orders, strict=True)]
        self._sizes = [tensor.numel() for tensor in like]
        self._penalized = sum(tensor.numel() for tensor in like if tensor.ndim > 1)

    def join(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return the block, in a list."""
        pairs = zip(tensors, self._orders, strict=True)
        return [torch.cat([tensor.permute(order).reshape(-1) for tensor, order in pairs])]

    def cut(self, blocks: Sequence[Tensor]) -> list[Tensor]:
        """Return the tensors, as views of the block."""
        parts = torch.split(blocks[0], self._sizes)
        dense = [part.view(shape) for part, shape in zip(parts, self._shapes, strict=True)]
        return [tensor.permute(_inverse(order)) for tensor, order in zip(dense, self._orders, strict=True)]

    def penalize(self, gradients: list[Tensor], weights: list[Tensor], pull: Tensor) -> list[Tensor]:
        """Return the block of gradients with what pulls weights by their signs, in a list."""
        count = self._penalized
        gradients[0][:count].addcmul_(pull, weights[0][:count].sign())
        return gradients


def _pulled(weight: Tensor, pull: Tensor) -> Tensor:
    """Return ``pull * weight.sign()``: a compiler makes comparisons of a sign, which take longer than Adam's root."""
    top = torch.finfo(weight.dtype).max
    return pull * (weight * top * top).clamp(-1, 1)


def _order(tensor: Tensor) -> list[int]:
    """Return a tensor's dimensions, from the longest stride to the shortest."""
    strides = tensor.stride()
    return sorted(range(tensor.ndim), key=lambda dim: -strides[dim])


def _inverse(order: list[int]) -> list[int]:
    return sorted(range(len(order)), key=order.__getitem__)
