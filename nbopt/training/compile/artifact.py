"""What was compiled, and what for."""

from __future__ import annotations

from typing import NamedTuple

import torch

from nbopt.training.compile.captured import RECORDERS, Shape
from nbopt.training.compile.marks import Attribute
from nbopt.training.compile.reads import Reads
from nbopt.training.compile.step import Chunk, Layer, Signature
from nbopt.training.core import Core


class Artifact(NamedTuple):
    """A chunk that was made and compared with the model; on a GPU, each run captures it on tensors of its own.

    Attributes
    ----------
    chunk : callable
    layers : list of Layer
        The dropout layers whose masks it takes.
    shapes : list of Shape
        Of all that it takes; machine code does not look whether they are right.
    attributes : list of tuple
        The model's settings that went into the code, see `find_attributes`.
    reads : Reads
        What else did, from outside the model.
    """

    chunk: Chunk
    layers: list[Layer]
    shapes: list[Shape]
    attributes: list[Attribute]
    reads: Reads


def sign(training: Core, steps: int) -> Signature:
    """Return the signature of a chunk for the run as it is now."""
    optimizer, loss = type(training.torch_optimizer), type(training.loss)
    threads = torch.get_num_threads()
    order = tuple((type(part), *(getattr(part, name) for name in part.declared())) for part in training.acting.around)
    captured = training.device.type in RECORDERS
    size, outputs = training.cursor.batch_size, bool(training.metrics)
    tuning = training.material.resting, training.material.evaluated
    edits = tuple(map(str, training.edits))
    changed = training.acting.changes()
    return Signature(steps, size, optimizer, loss, outputs, threads, order, captured, *tuning, edits, changed)
