"""What a small network makes of the plane: its prediction at every place, what each unit sees, its weights.

Reckoned while the network trains, in whatever thread, from copies of the weights that it computes with, pruned ones or
such of few bits: the network is only read, dropout is off here, no random number is drawn. A copy may fall into the
middle of a step; some weights are then a step older than others, which no eye can tell.

By NumPy: torch would share each layer out among all cores, and waiting there for the training to let go of one takes a
hundred times as long as the reckoning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from nbopt.i18n import _

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

SIDE = 50
"""Points along each side of the field."""
UNIT_SIDE = 10
"""Points along each side of a unit's picture."""

_EVERY = SIDE // UNIT_SIDE


class Sketch(NamedTuple):
    """A network as it is now.

    Attributes
    ----------
    field : ndarray of uint16, shape (SIDE, SIDE)
        The probability of the second class, 0 to 65,535, from the top left corner row by row.
    units : list of ndarray of uint8, shape (units, UNIT_SIDE, UNIT_SIDE)
        What comes out of each unit, for the inputs, each hidden layer, and the output: the difference of both scores.
        128 is 0; the farthest from it that a unit comes is 1 or 255.
    weights : list of ndarray of float32, shape (to, from)
        Between each two of these layers.
    """

    field: NDArray[np.uint16]
    units: list[Bytes]
    weights: list[Floats]


class Boundary:
    """Draws sketches of a network.

    Parameters
    ----------
    model : torch.nn.Sequential
        Two inputs, linear layers each followed by an activation, two scores.
    reach : float
        The plane is looked at from -reach to reach, both ways.
    changed : callable, optional
        Returns the weights that the network computes with in the place of its own, by name, as where it is pruned.

    Raises
    ------
    TypeError
        For a layer that is neither linear, nor dropout, nor a known activation.
    """

    def __init__(self, model: nn.Sequential, reach: float, changed: Callable[[], Mapping[str, Tensor]] = dict) -> None:
        self._changed = changed
        self._layers = [(name, layer) for name, layer in model.named_children() if not isinstance(layer, nn.Dropout)]
        for _name, layer in self._layers:
            if not isinstance(layer, nn.Linear) and type(layer) not in _ACTIVATIONS:
                raise TypeError(_("a network with a layer of {kind} cannot be drawn.", kind=type(layer).__name__))
        across = np.linspace(-reach, reach, SIDE, dtype=np.float32)
        x, y = np.meshgrid(across, across[::-1])
        self._plane: Floats = np.stack([x.ravel(), y.ravel()])

    def sketch(self) -> Sketch:
        """Return what the network is now."""
        values, seen = self._plane, [self._plane]
        weights: list[Floats] = []
        changed = self._changed()
        for name, layer in self._layers:
            if not isinstance(layer, nn.Linear):
                values = _ACTIVATIONS[type(layer)](values)
                seen.append(values)
                continue
            parts = (changed.get(f"{name}.weight", layer.weight), changed.get(f"{name}.bias", layer.bias))
            weight, bias = (part.detach().cpu().numpy().copy() for part in parts)
            weights.append(weight)
            values = np.einsum("ti,ip->tp", weight, values) + bias[:, None]
        score = values[1:] - values[:1]
        weights[-1] = weights[-1][1:] - weights[-1][:1]
        field = np.nan_to_num(65535 * _sigmoid(score), nan=32768.0).round().astype(np.uint16)
        return Sketch(field.reshape(SIDE, SIDE), [_pictures(part) for part in [*seen, score]], weights)


def _sigmoid(values: Floats) -> Floats:
    odds: Floats = np.tanh(0.5 * values)
    return 0.5 + 0.5 * odds


def _relu(values: Floats) -> Floats:
    return np.maximum(values, 0)


_ACTIVATIONS: dict[type[nn.Module], Callable[[Floats], Floats]] = {
    nn.Tanh: np.tanh,
    nn.ReLU: _relu,
    nn.Sigmoid: _sigmoid,
}


def _pictures(values: Floats) -> Bytes:
    """Return a small picture of each row of ``values``, shape (units, SIDE * SIDE)."""
    coarse = values.reshape(-1, SIDE, SIDE)[:, _EVERY // 2 :: _EVERY, _EVERY // 2 :: _EVERY]
    largest = np.abs(coarse).max((1, 2), keepdims=True)
    # What is no number, of a network that diverged, is in the middle.
    middle: Floats = np.nan_to_num(128 + 127 * coarse / np.maximum(largest, 1e-12), nan=128.0)
    return middle.round().astype(np.uint8)
