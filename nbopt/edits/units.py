"""Which units of which weights belong together: found by following them through a forward pass.

Each unit that a layer puts out, a neuron or a channel, gets a number. Where a tensor goes on, its units' numbers go
along: what moves numbers, as a reshape or a concatenation, is done to the numbers of units too. Where two tensors meet,
as in a residual connection, their units are joined; and the layer that takes units has one in its weights for each. So
in the end every dimension of every weight tells of which units it is, and which have to go together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

OUT, INTO, THROUGH = "out", "into", "through"


class Units:
    """Units, joined where they can only go together.

    Attributes
    ----------
    axes : dict of (str, int) to Tensor
        By weight or buffer and dimension, the units along it, (size,) int64.
    roles : dict of (str, int) to set of str
        Whether a weight puts these units out, takes them (both, where two layers share it), or lets them pass.
    reasons : dict of int to str
        Units that have to stay, and why.
    alive : set of int
        Units that were seen to be other than 0.
    together : list of list of Tensor
        Rows of units of which the same number has to go, as the layers of one LSTM have.
    """

    def __init__(self) -> None:
        self.axes: dict[tuple[str, int], Tensor] = {}
        self.roles: dict[tuple[str, int], set[str]] = {}
        self.reasons: dict[int, str] = {}
        self.alive: set[int] = set()
        self.together: list[list[Tensor]] = []
        self._parents: list[int] = []

    def new(self, count: int) -> Tensor:
        """Return ``count`` units that were not there before."""
        first = len(self._parents)
        self._parents.extend(range(first, first + count))
        return torch.arange(first, first + count)

    def root(self, unit: int) -> int:
        """Return the unit that stands for all that this one is joined with."""
        parents = self._parents
        while parents[unit] != unit:
            parents[unit] = parents[parents[unit]]
            unit = parents[unit]
        return unit

    def join(self, one: Tensor, other: Tensor) -> None:
        """Join units pair by pair; the shapes broadcast."""
        both = torch.stack(torch.broadcast_tensors(one, other))  # type: ignore[no-untyped-call]
        pairs = zip(*both.reshape(2, -1).tolist(), strict=True)
        for a, b in dict.fromkeys(pairs):
            first, second = sorted((self.root(a), self.root(b)))
            self._parents[second] = first

    def fix(self, units: Tensor, reason: str) -> None:
        """Take note that units have to stay."""
        for unit in set(units.reshape(-1).tolist()):
            self.reasons.setdefault(unit, reason)

    def axis(self, name: str, dim: int, size: int, role: str, units: Tensor | None = None) -> Tensor:
        """Return the units along a dimension of a weight; new ones the first time, or those given, which are joined."""
        held = self.axes.get((name, dim))
        if held is None:
            held = self.axes[name, dim] = self.new(size) if units is None else units.reshape(-1).clone()
        self.roles.setdefault((name, dim), set()).add(role)
        if units is not None:
            self.join(held, units.reshape(-1))
        return held

    def groups(self) -> dict[int, dict[tuple[str, int], Tensor]]:
        """Return, for each unit, the places along the dimensions of weights where it stands."""
        found: dict[int, dict[tuple[str, int], list[int]]] = {}
        for axis, units in self.axes.items():
            for place, unit in enumerate(units.tolist()):
                found.setdefault(self.root(unit), {}).setdefault(axis, []).append(place)
        return {root: {a: torch.tensor(p) for a, p in places.items()} for root, places in found.items()}

    def fixed(self) -> dict[int, str]:
        """Return the units that have to stay, and why."""
        found: dict[int, str] = {}
        for unit, reason in self.reasons.items():
            found.setdefault(self.root(unit), reason)
        return found

    def living(self) -> set[int]:
        """Return the units of which one was seen to be other than 0."""
        return {self.root(unit) for unit in self.alive}


def names_of(model: nn.Module) -> dict[int, tuple[str, Tensor]]:
    """Return the name of each weight and buffer by its id, with itself, so that no other tensor gets that id."""
    found: dict[int, tuple[str, Tensor]] = {}
    for prefix, module in model.named_modules():
        held: Iterable[Mapping[str, Any]] = (module._parameters, module._buffers)
        for named in held:
            for name, tensor in named.items():
                if tensor is not None:
                    found.setdefault(id(tensor), (f"{prefix}.{name}".lstrip("."), tensor))
    return found
