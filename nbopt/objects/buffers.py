"""Buffers that are to be as they were."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


@torch.no_grad()
def put_tensors_back(kept: Iterable[tuple[Tensor, Tensor]]) -> None:
    """Give tensors the numbers of their copies, and the sizes: observers of quantization change theirs in place."""
    for tensor, copy in kept:
        if tensor.shape != copy.shape:
            tensor.resize_(copy.shape)
        tensor.copy_(copy)
