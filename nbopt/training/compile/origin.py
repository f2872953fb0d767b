"""What machine code was made from, and what of it this process has loaded.

Who finds it there traces nothing, which takes longer than to load it from the disk.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from nbopt.techniques.losses.base import Loss
from nbopt.training.compile.captured import Shape
from nbopt.training.compile.marks import find_attributes
from nbopt.training.compile.reads import Reads
from nbopt.training.compile.step import Chunk, Layer

_MOST = 16  # chunks that are known at a time


class Origin(NamedTuple):
    """All that operations follow from, numbers in tensors apart.

    Attributes
    ----------
    facts : tuple
    reads : Reads
        What the model's code reads from outside.
    """

    facts: tuple[Any, ...]
    reads: Reads

    def is_of(self, other: Origin) -> bool:
        """Whether the same operations follow from another."""
        return self.facts == other.facts and not self.reads.watched.find_difference(other.reads.watched)


def origin_of(
    signature: Any, model: nn.Module, loss: Loss, layers: Sequence[Layer], shapes: Sequence[Shape], reads: Reads
) -> Origin:
    """Return what a chunk follows from that a model, a loss of nbopt's own and these arguments lead to."""
    modules = [(name, type(module), module.training) for name, module in model.named_modules()]
    tensors = [name for name, _weight in model.named_parameters()], [name for name, _buffer in model.named_buffers()]
    settings = [getattr(loss, name) for name in loss.declared()]
    # As words: 1, 1.0 and True are equal, and not the same.
    values = repr((find_attributes(model), settings, [(layer.name, layer.ones.dtype) for layer in layers]))
    flags = torch.are_deterministic_algorithms_enabled(), torch.backends.mkldnn.enabled
    process = torch.get_default_dtype(), torch.get_num_threads(), *flags
    return Origin((signature, modules, tensors, type(loss), values, [*shapes], process), reads)


_loaded: deque[tuple[Origin, Chunk]] = deque(maxlen=_MOST)


def find_loaded(origin: Origin) -> Chunk | None:
    """Return machine code that this process has for what this leads to."""
    return next((chunk for known, chunk in [*_loaded] if known.is_of(origin)), None)


def keep_loaded(origin: Origin, chunk: Chunk) -> None:
    """Keep machine code for who needs the same."""
    _loaded.append((origin, chunk))
