"""Samples that come next, gathered in a second thread and copied to the device while it computes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

_GATHERERS = ThreadPoolExecutor(max_workers=2, thread_name_prefix="nbopt gathers")  # a run's training and validation


class Ahead:
    """Deals out stretches of samples on a device, and has the next one on its way.

    Parameters
    ----------
    columns : sequence of Tensor
        All samples, on the CPU.
    device : torch.device
    """

    def __init__(self, columns: Sequence[Tensor], device: torch.device) -> None:
        self._columns = columns
        self._device = device
        # What is not CUDA has one stream only, and torch.cpu's do nothing.
        self._module: Any = torch.cuda if device.type == "cuda" else torch.cpu
        self._stream = self._module.Stream()
        self._coming: tuple[Tensor | slice, Future[list[Tensor]]] | None = None

    def take(self, index: Tensor | slice, following: Tensor | slice) -> list[Tensor]:
        """Return the samples of ``index``, and begin to fetch those of ``following``."""
        coming, self._coming = self._coming, None
        fetched = coming[1] if coming is not None and _same(coming[0], index) else self._fetch(index)
        samples = fetched.result()
        self._module.current_stream().wait_stream(self._stream)
        if _length(following):
            self._coming = following, self._fetch(following)
        return samples

    def _fetch(self, index: Tensor | slice) -> Future[list[Tensor]]:
        # Made here, in the stream that will use them: so their memory goes back to it, and to no other.
        shapes = [(_length(index), *column.shape[1:]) for column in self._columns]
        samples = [
            torch.empty(shape, dtype=column.dtype, device=self._device)
            for shape, column in zip(shapes, self._columns, strict=True)
        ]
        self._stream.wait_stream(self._module.current_stream())
        return _GATHERERS.submit(self._fill, samples, index)

    def _fill(self, samples: list[Tensor], index: Tensor | slice) -> list[Tensor]:
        for column, target in zip(self._columns, samples, strict=True):
            rows = torch.empty(target.shape, dtype=target.dtype, pin_memory=self._device.type == "cuda")
            if isinstance(index, slice):
                rows.copy_(column[index])
            else:
                torch.index_select(column, 0, index, out=rows)
            with self._module.stream(self._stream):
                target.copy_(rows, non_blocking=True)
        return samples


def _length(index: Tensor | slice) -> int:
    return index.stop - index.start if isinstance(index, slice) else len(index)


def _same(one: Tensor | slice, other: Tensor | slice) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    return one == other
