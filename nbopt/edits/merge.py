"""Joining units that do nearly the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn

from nbopt.edits.finding import Found, find_units
from nbopt.edits.picking import check_patterns, read_patterns
from nbopt.edits.traversal import is_pattern, read_pattern, to_pattern
from nbopt.edits.units import INTO, OUT, THROUGH
from nbopt.errors import InvalidHyperparam, shorten, unknown
from nbopt.i18n import _
from nbopt.training.structure.edit import CannotEdit, Edit, Plan, Resize

if TYPE_CHECKING:
    from nbopt.training.training import Training

_WAYS = ("weights", "activations")


@dataclass(frozen=True)
class Merge(Edit):
    """Join neurons, channels and hidden units that do nearly the same into one (Srinivas and Babu 2015).

    Of each lot, the one with the largest weights stays, and what the others gave on is added to what it gives on. How
    far the outputs move stands in the journal; of units that are the same, they do not.

    Parameters
    ----------
    distance : float
        How far apart two of them may be, as a share of the larger one's norm; from 0 on.
    by : {"weights", "activations"}
        What is compared: the weights that put them out, or what they are on the next batch.
    layers : str or sequence of str
        The layers that it may be done to, ``*`` for any text; by default all.

    Raises
    ------
    InvalidHyperparam
        If these are not legal.

    Examples
    --------
    >>> import nbopt, torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    >>> run = nbopt.Run(model, (torch.randn(60, 4), torch.arange(60) % 3), epochs=4, store=None)
    >>> run.step(2)
    >>> merged = run.change(nbopt.edits.Merge(distance=0.8))
    >>> merged.model[0].out_features < 16
    True
    """

    distance: float = 0.1
    by: str = "weights"
    layers: Any = ("*",)
    axes: Any = field(default=(), repr=False)
    sizes: Any = field(default=(), repr=False)

    kind: ClassVar[str] = "merge"
    keeps: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check what was given, or stood in a journal."""
        number = isinstance(self.distance, (int, float)) and not isinstance(self.distance, bool)
        if not number or not 0 <= self.distance < float("inf"):
            rule = _("distance must be a number from 0 on, as 0.1")
            raise InvalidHyperparam(_("{rule}; got {value}.", rule=rule, value=shorten(self.distance)))
        if self.by not in _WAYS:
            raise unknown(_("way to compare units"), self.by, _WAYS)
        object.__setattr__(self, "layers", read_patterns(self.layers))
        axes = tuple(map(tuple, self.axes))
        for name, dim, kept, to in axes:
            right = isinstance(name, str) and type(dim) is int and (kept is None or is_pattern(kept))
            if not right or not (to is None or is_pattern(to)) or (kept is None) is (to is None):
                raise InvalidHyperparam(_("{name} must tell where units stand.", name="axes"))
        object.__setattr__(self, "axes", axes)
        object.__setattr__(self, "sizes", tuple(map(tuple, self.sizes)))

    def prepare(self, training: Training) -> Self:
        """Find the units that are alike, and where in the weights they stand."""
        check_patterns(training.model, self.layers)
        found = find_units(training, self.refuse)
        into: dict[int, int] = {}
        for row in found.rows():
            free = [unit for unit in row if self._may_go(found, unit)]
            if len(free) > 1:
                into.update(_join(free, self._vectors(found, free), self.distance, found))
        if not into:
            raise self.refuse(_("no two units of a layer are as near as {distance}", distance=self.distance))
        axes: list[tuple[str, int, Any, Any]] = []
        for (name, dim), units in found.units.axes.items():
            roots = [found.units.root(unit) for unit in units.tolist()]
            if not into.keys() & set(roots):
                continue
            kept = [place for place, root in enumerate(roots) if root not in into]
            if INTO in found.units.roles[name, dim]:
                axes.append((name, dim, None, to_pattern(_places(roots, into, kept))))
            else:
                axes.append((name, dim, to_pattern(kept), None))
        return replace(self, axes=tuple(axes), sizes=found.sizes(set(into)))

    def _may_go(self, found: Found, unit: int) -> bool:
        layer = found.layer_of(unit)
        both = any({INTO, OUT} <= found.units.roles[axis] for axis in found.groups[unit])
        tied = any(found.units.root(one) == unit for rows in found.units.together for r in rows for one in r.tolist())
        named = bool(layer) and any(fnmatch(layer, pattern) for pattern in self.layers)
        return named and unit not in found.fixed and not both and not tied

    def _vectors(self, found: Found, units: Sequence[int]) -> Tensor:
        """Return what is compared, a row for each unit."""
        if self.by == "weights":
            parts = [[*found.slices(unit, OUT), *found.slices(unit, THROUGH)] for unit in units]
            return torch.stack([torch.cat([part.flatten().double().cpu() for part in own]) for own in parts])
        rows: list[list[Tensor]] = [[] for _unit in units]
        for tensor, numbers in found.seen:
            dim = max(range(numbers.ndim), key=lambda place: numbers.shape[place])
            flat = tensor.movedim(dim, 0).flatten(1).double().cpu()
            roots = torch.tensor([found.units.root(unit) for unit in numbers.reshape(-1).tolist()])
            places = [torch.nonzero(roots == unit).flatten() for unit in units]
            if all(len(place) for place in places):
                for row, place in zip(rows, places, strict=True):
                    row.append(flat[place].flatten())
        if not rows[0]:
            raise self.refuse(_("what units are on a batch is known where linear layers and convolutions take them"))
        return torch.stack([torch.cat(row) for row in rows])

    def plan(self, model: nn.Module, generator: torch.Generator) -> Plan:
        """Return what is left of each weight, and what is added to it."""
        tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        resizes: dict[str, list[Resize]] = {}
        for name, dim, kept, to in self.axes:
            size = tensors[name].shape[dim] if name in tensors and dim < tensors[name].ndim else 0
            places = torch.tensor(read_pattern(to if kept is None else kept))
            if not size or int(places.min()) < 0 or int(places.max()) >= size or (to and len(places) != size):
                raise CannotEdit(_("{name} has not the size of the weight whose units are joined.", name=name))
            made = Resize(dim, places) if to is None else Resize(dim, torch.arange(size), into=places)
            resizes.setdefault(name, []).append(made)
        words = [_("{layer}: {before} → {after} units", layer=n, before=b, after=a) for n, b, a in self.sizes]
        return Plan(resizes, [], ", ".join(words))


def _join(units: Sequence[int], vectors: Tensor, distance: float, found: Found) -> dict[int, int]:
    """Return the units that go into others, and which these are."""
    norms = vectors.norm(dim=1)
    apart = torch.cdist(vectors, vectors, compute_mode="donot_use_mm_for_euclid_dist")
    near = apart <= distance * torch.maximum(norms[:, None], norms[None])
    into: dict[int, int] = {}
    taken = set[int]()
    for index in sorted(range(len(units)), key=lambda place: (-found.norm(units[place]), place)):
        if index in taken:
            continue
        taken.add(index)
        for other in torch.nonzero(near[index]).flatten().tolist():
            if other not in taken:
                taken.add(other)
                into[units[other]] = units[index]
    return into


def _places(roots: list[int], into: dict[int, int], kept: list[int]) -> list[int]:
    """Return to which place each place is added: of a unit with several, one after the other."""
    number = {place: index for index, place in enumerate(kept)}
    own: dict[int, list[int]] = {}
    for place in kept:
        own.setdefault(roots[place], []).append(number[place])
    met: dict[int, int] = {}
    made = []
    for place, root in enumerate(roots):
        if root not in into:
            made.append(number[place])
        else:
            made.append(own[into[root]][met.get(root, 0)])
            met[root] = met.get(root, 0) + 1
    return made
