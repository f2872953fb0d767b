"""What stops a run from going on as it is."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch


class Trouble(NamedTuple):
    """What has to be put right before the next step.

    Attributes
    ----------
    step : int
        The step it happened in.
    text : str
        What happened.
    memory : bool
        Whether memory ran out; otherwise the loss went wrong.
    smaller : int
        Where memory ran out, of how many samples parts may be that are smaller.
    loss : float
        The loss that went wrong.
    """

    step: int
    text: str
    memory: bool
    smaller: int = 0
    loss: float = math.nan


def is_out_of_memory(error: Exception) -> bool:
    """Whether this is torch's way of saying so; the CPU's allocator has no exception of its own."""
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )
