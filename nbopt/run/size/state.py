"""How good and how large a model is, at one moment."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

from nbopt.export.compressed.pack import join, pack
from nbopt.run.exports.artifact import Computed, find_computed
from nbopt.run.size.layers import Layer, list_layers, macs_of
from nbopt.run.size.probe import Probe, Slices
from nbopt.run.size.tradeoff import find_compressing
from nbopt.training.validation import measure

Item = TypeVar("Item")


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
        The hyperparameters that make the model compute with other weights or activations.
    structure : str
        Equal for states whose models are of the same layers, whatever their weights are.
    """

    step: int
    score: float
    parameters: int
    nonzero: int
    macs: int
    bytes: int
    values: dict[str, Any]
    structure: str


class Sizes(NamedTuple):
    """The size of a file.

    Attributes
    ----------
    total : int
        In bytes.
    sizes : dict of str to int
        What each tensor takes of it.
    bits : dict of str to int
        Those of each of a tensor's numbers: of its grid or table, or of its type.
    """

    total: int
    sizes: dict[str, int]
    bits: dict[str, int]


def pack_all(found: Computed) -> Sizes:
    """Return the size of the file that `Run.export` writes, by writing it to memory."""
    packed = {name: pack(tensor, found.grids.get(name)) for name, tensor in found.state.items()}
    bits = {name: each.entry.get("bits", 8 * found.state[name].element_size()) for name, each in packed.items()}
    bits.update((name, grid.bits) for name, grid in found.grids.items())
    sizes = {name: each.size for name, each in packed.items()}
    return Sizes(len(join(packed, found.same, found.inputs)), sizes, bits)


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
        structure_of(probe.training),
    )


def find_state(probe: Probe, metric: str) -> Slices:
    """Return where a probe's model is, of which nothing is known, in slices."""
    scores = yield from measure(probe.training)
    macs, found = macs_of(probe.training), find_computed(probe.copy)
    layers = list_layers(probe.training, macs)
    packed = yield lambda: pack_all(found)
    return state_of(probe, scores.get(metric), layers, macs, packed.total)


def structure_of(training: Any) -> str:
    """Return what is equal for models of a family that have the same layers: the edits that led there."""
    return json.dumps(training.edits, default=str)


def spread(items: Sequence[Item], most: int) -> list[Item]:
    """Return at most so many items, evenly spread, the first and the last among them.

    Examples
    --------
    >>> spread(range(10), 4)
    [0, 3, 6, 9]
    """
    if len(items) <= most:
        return [*items]
    return [items[round(k * (len(items) - 1) / (most - 1))] for k in range(most)]
