"""Gradient accumulation: a batch sent through the model in parts, for when it does not fit at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nbopt.data.sources import sample_count
from nbopt.data.tree import tree_map
from nbopt.hyperparams import Int, Tunable
from nbopt.words import _


class Accumulation(Tunable):
    """Splits batches; gradients of the parts add up to the batch's own.

    Exactly so for models that treat samples one by one; batch normalization sees the parts as its batches.
    """

    micro_batch = Int(
        0,
        low=1,
        high=1024,
        powers=True,
        zero=True,
        ge=0,
        label=_("Micro-batch"),
        group=_("Batches"),
        help=_("Samples sent through the model at once, when a batch is too large for the memory; 0: all of them."),
    )

    def parts(self, batch: Any) -> Iterator[tuple[Any, float]]:
        """Yield the parts of ``batch``, each with its share of the samples."""
        count = sample_count(batch)
        size = self.micro_batch or count
        if size >= count:
            yield batch, 1.0
            return
        for start in range(0, count, size):
            stop = min(start + size, count)
            yield tree_map(lambda tensor, a=start, b=stop: tensor[a:b], batch), (stop - start) / count  # type: ignore[misc]

    def half_of(self, count: int) -> int | None:
        """Return a smaller micro-batch for a batch of ``count`` samples; None if there is none."""
        size = min(self.micro_batch or count, count)
        return size // 2 if size > 1 else None
