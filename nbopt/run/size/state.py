"""How good and how large a model is, at one moment."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from nbopt.export.compressed.pack import join, pack
from nbopt.run.size.layers import Layer
from nbopt.run.size.probe import Probe
from nbopt.run.size.tradeoff import find_compressing
from nbopt.run.taking import Computed
from nbopt.run.trained import TrainedSession


class State(NamedTuple):
    """How good and how large a model is.

    Attributes
    ----------
    step : int
        Steps that the run had done.
    score : float
        What the metric says.
    parameters, nonzero, macs, bytes : int
        Its weights, those that are not 0, operations for one sample, and the size of the file that `Run.export` writes.
    values : dict of str to object
        The hyperparameters that make the model compute with other weights.
    """

    step: int
    score: float
    parameters: int
    nonzero: int
    macs: int
    bytes: int
    values: dict[str, Any]


class Sizes(NamedTuple):
    """The size of a file.

    Attributes
    ----------
    total : int
        In bytes.
    sizes : dict of str to int
        What each tensor takes of it.
    """

    total: int
    sizes: dict[str, int]


def pack_all(found: Computed) -> Sizes:
    """Return the size of the file that `Run.export` writes, by writing it to memory."""
    packed = {name: pack(tensor, found.grids.get(name)) for name, tensor in found.state.items()}
    return Sizes(len(join(packed, found.same)), {name: each.size for name, each in packed.items()})


def state_of(probe: Probe, score: float | None, layers: Sequence[Layer], macs: Counter[str], size: int) -> State:
    """Return where a probe's model is, of which its layers, operations and the size of its file are known."""
    return State(
        probe.training.step,
        math.nan if score is None else score,
        sum(layer.parameters for layer in layers),
        sum(layer.nonzero for layer in layers),
        macs.total(),
        size,
        {name: probe.values[name] for name in find_compressing(probe.training)},
    )


def find_root(run: TrainedSession, live: Mapping[str | None, TrainedSession]) -> str:
    """Return the first run that a run branched off, or a branch of that one, of those that are ``live``."""
    while run.parent in live:
        run = live[run.parent]
    return run.parent or run.id
