"""A chunk as a graph of a GPU's operations, launched as a whole: what a launch costs the CPU is then paid once.

A graph repeats what it was recorded from on the same places in memory. So it belongs to one run's tensors, and what
comes in with a call is copied to places of its own first.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from nbopt.i18n import _
from nbopt.training.compile.step import CannotCompile, Chunk


class Shape(NamedTuple):
    """Everything about a tensor but its numbers."""

    size: torch.Size
    stride: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, tensor: Tensor) -> Shape:
        """Return that of a tensor."""
        return cls(tensor.shape, tensor.stride(), tensor.dtype)

    def zeros(self, device: torch.device) -> Tensor:
        """Return a tensor of zeros."""
        return torch.empty_strided(self.size, self.stride, dtype=self.dtype, device=device).zero_()


Work = Callable[[], Sequence[Tensor]]
Recorder = Callable[[Work], tuple[Callable[[], None], Sequence[Tensor]]]

_LOCK = threading.Lock()  # a process records one graph at a time


def record_cuda(work: Work) -> tuple[Callable[[], None], Sequence[Tensor]]:
    """Record what ``work`` launches, without doing it; return what does it, and where the results will be."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # other threads may use the GPU meanwhile
        results = work()
    return graph.replay, results


RECORDERS: dict[str, Recorder] = {"cuda": record_cuda}
"""By type of device; on others, chunks are compiled."""


class Captured:
    """Does a chunk by one launch; called as the chunk is.

    Parameters
    ----------
    chunk : callable
    held : list of Tensor
        Its first arguments: those that it writes to, and that stay where they are.
    shapes : list of Shape
        Of its other arguments.

    Raises
    ------
    CannotCompile
        If it does anything that a graph cannot hold, such as waiting for the GPU.
    """

    @torch.no_grad()
    def __init__(self, chunk: Chunk, held: list[Tensor], shapes: list[Shape]) -> None:
        device = held[0].device
        self._inputs = [shape.zeros(device) for shape in shapes]
        own = [*held, *self._inputs]
        try:
            # Libraries set themselves up in a first call, which they may not do while a graph is recorded.
            chunk([tensor.clone() for tensor in own])
            with _LOCK:
                self._launch, self._results = RECORDERS[device.type](lambda: chunk(own))
        except Exception as error:  # whatever torch, or the model, raises
            reason = _("it cannot be captured as a graph: {error}", error=f"{type(error).__name__}: {error}")
            raise CannotCompile(reason.splitlines()[0]) from error

    @torch.no_grad()
    def __call__(self, flat: list[Tensor]) -> Sequence[Tensor]:
        """Do the chunk; only what follows the tensors that are held is read from ``flat``."""
        given = flat[len(flat) - len(self._inputs) :]
        for place, tensor in zip(self._inputs, given, strict=True):
            place.copy_(tensor, non_blocking=True)
        self._launch()
        return [result.clone() for result in self._results]  # the next launch writes over them
