"""Tensors that share memory, and tensors that are equal to the bit."""

from __future__ import annotations

import torch
from torch import Tensor

from nbopt.objects.keeper import Packed


def is_same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal to the bit."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return torch.equal(*(tensor.contiguous().reshape(-1).view(torch.uint8) for tensor in (one, other)))


def storage_of(tensor: Tensor) -> int:
    """Return what tells the memory of one tensor from that of others; a number of its own where it has none."""
    place = tensor.untyped_storage().data_ptr() if tensor.layout is torch.strided and not tensor.is_meta else 0
    return place or -id(tensor)


def covers(base: Tensor, view: Tensor) -> bool:
    """Whether all that is in ``view``, of the same memory, is in ``base``."""
    begin = view.storage_offset() - base.storage_offset()
    end = begin + sum((size - 1) * step for size, step in zip(view.shape, view.stride(), strict=True))
    alike = base.dtype == view.dtype and base.is_contiguous() and view.numel() > 0
    return alike and begin >= 0 and end < base.numel()


def view_of(held: Packed, base: Tensor, view: Tensor) -> dict[str, Packed]:
    """Return how ``view`` is come by."""
    offset = view.storage_offset() - base.storage_offset()
    node = {"view": held, "size": list(view.shape), "stride": list(view.stride()), "offset": offset}
    return node | {"grad": True} if view.requires_grad else node
