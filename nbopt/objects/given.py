"""Modules that a user gives beside the model: what stands for one, and what tells one from another in a store."""

from __future__ import annotations

import zlib
from typing import Any

import torch
from torch import Tensor, nn


def module_of(given: Any) -> nn.Module | None:
    """Return the module that somebody gave; of a run or a member, its model as it is now; None for anything else."""
    if isinstance(given, nn.Module):
        return given
    if hasattr(given, "frozen_model"):
        found: nn.Module = given.frozen_model()
        return found
    return None


def fingerprint_of(module: nn.Module) -> str:
    """Return what tells a module from another one: its class, and a checksum of all that it holds."""
    digest = 0
    for tensor in module.state_dict().values():
        if isinstance(tensor, Tensor):
            plain = tensor.detach().cpu().contiguous().flatten()
            digest = zlib.crc32(plain.view(torch.uint8).numpy().tobytes(), digest)
    return f"{type(module).__name__} {digest:08x}"
