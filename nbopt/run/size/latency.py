"""How long a forward pass takes, measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch.utils.benchmark import Timer

_SECONDS = 0.2  # that a measurement takes at least


class Latency(NamedTuple):
    """How long a forward pass takes.

    Attributes
    ----------
    median, spread : float
        In seconds: the median of all measurements, and how far their quartiles are apart.
    samples : int
        How many samples went through the model at once.
    """

    median: float
    spread: float
    samples: int


def measure_latency(do: Callable[[], Any], samples: int, seconds: float = _SECONDS) -> Latency:
    """Measure how long ``do`` takes, by `torch.utils.benchmark.Timer`, which waits for a GPU.

    Parameters
    ----------
    do : callable
        A forward pass of ``samples`` samples.
    seconds : float
        How long it is measured.
    """
    threads = torch.get_num_threads()  # its default of 1 would be set for the whole process, and for runs that train
    found = Timer("do()", globals={"do": do}, num_threads=threads).blocked_autorange(min_run_time=seconds)
    return Latency(found.median, found.iqr, samples)
