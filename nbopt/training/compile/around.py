"""What techniques put around the pass of a compiled step, as mixed precision."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from nbopt.techniques.losses.base import Loss

Around = Sequence[Callable[..., Any]]
"""What techniques put around a pass, the last one outermost."""


def measure(loss: Loss, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return output, target and loss of a batch."""
    return output, target, loss(output, loss.prepare(output, target))


@contextmanager
def uncached() -> Iterator[None]:
    """Have torch keep nothing that a weight was cast to, which is not to outlive its place in a graph."""
    before = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(before)
