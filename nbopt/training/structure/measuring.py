"""What an edit does to a model, in numbers: its weights, the work of a pass, and how far its outputs move."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from nbopt.data.tree import tensors
from nbopt.training.structure.macs import count_macs
from nbopt.training.trial import watch_step

if TYPE_CHECKING:
    from nbopt.training.training import Training


class Measured(NamedTuple):
    """The size of a model.

    Attributes
    ----------
    parameters : int
        Numbers in its weights, each counted once.
    macs : int or None
        Multiplications with an addition for each sample of the next batch, see
        `nbopt.training.structure.macs.count_macs`; None where torch lets nobody count.
    """

    parameters: int
    macs: int | None

    @classmethod
    def of(cls, training: Training) -> Measured:
        """Measure a run's model, on its next batch."""
        parameters = sum(weight.numel() for weight in training.model.parameters())
        found = count_macs(training.model, lambda: watch_step(training, nullcontext()))
        samples = next((len(tensor) for tensor in tensors(training.cursor.peek()) if tensor.ndim), 1)
        return cls(parameters, round(sum(found.values()) / samples) if found else None)

    def compared(self, after: Measured, change: float) -> dict[str, Any]:
        """Return what the journal holds of an edit between two sizes, and how far outputs move."""
        return {
            "parameters": [self.parameters, after.parameters],
            "macs": [self.macs, after.macs],
            "change": change,
        }

    @staticmethod
    def read(value: Mapping[str, Any]) -> dict[str, Any]:
        """Return what `compared` wrote, of an edit that a journal tells of; earlier versions had none."""
        return {name: value[name] for name in ("parameters", "macs", "change") if name in value}

    @staticmethod
    def is_one(value: Mapping[str, Any]) -> bool:
        """Whether what a journal tells of an edit can have been written by `compared`."""
        pairs = [pair for name in ("parameters", "macs") for pair in (value.get(name, [0, 0]),)]
        right = all(isinstance(pair, list) and len(pair) == 2 for pair in pairs)
        numbers = [number for pair in pairs for number in pair] if right else []
        change = value.get("change", 0.0)
        whole = all(number is None or (isinstance(number, int) and number >= 0) for number in numbers)
        return right and whole and isinstance(change, (int, float)) and change >= 0


def change_of(one: Any, other: Any) -> float:
    """Return how far apart outputs are, as a share of their size: the root of the ratio of squares."""
    ours, others = [t.double() for t in tensors(one[0])], [t.double() for t in tensors(other[0])]
    if [tensor.shape for tensor in ours] != [tensor.shape for tensor in others]:
        return math.inf
    size, apart = _square(ours), _square([a - b for a, b in zip(ours, others, strict=True)])
    return math.sqrt(apart / size) if size else math.sqrt(apart)


def _square(values: list[Tensor]) -> float:
    return float(sum((value.square().sum() for value in values), torch.zeros((), dtype=torch.float64)))
