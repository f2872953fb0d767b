"""How long a forward pass takes, measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.benchmark import Timer

_SECONDS = 0.2  # that a measurement takes at least
_LEAST = 5  # measurements


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
    timer = Timer("do()", globals={"do": do}, num_threads=threads)
    times: list[float] = []
    while len(times) < _LEAST:  # else there is no spread
        times += timer.blocked_autorange(min_run_time=seconds).times
    low, median, high = np.percentile(times, [25, 50, 75])
    return Latency(float(median), float(high - low), samples)
