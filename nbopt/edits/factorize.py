"""Low-rank factorization: a layer becomes two, with few units between."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn

from nbopt.edits.picking import everywhere, find_layer, is_matrix, pick, read_patterns
from nbopt.edits.written import factored, matrix_of
from nbopt.errors import InvalidHyperparam, shorten
from nbopt.export.edits import Written
from nbopt.export.source import literal
from nbopt.i18n import _
from nbopt.training.structure.edit import CannotEdit, Edit, Plan

if TYPE_CHECKING:
    from nbopt.training.training import Training


@dataclass(frozen=True)
class Factorize(Edit):
    """Write the weight of a layer as a product of two smaller ones, by its largest singular values (Eckart and Young).

    A linear layer becomes two, and so does a convolution: one of the same size with few channels, and one of single
    places. It is done where it saves weights. Outputs change a little, and how much stands in the journal; the layer's
    bias goes on with what the optimizer remembers of it, the factors begin anew.

    Parameters
    ----------
    rank : int, optional
        Units between the two.
    energy : float, optional
        Instead: the share of the squares of singular values that is kept, above 0 up to 1, and from it each rank.
    layers : str or sequence of str
        Names of layers, ``*`` for any text; by default all linear ones and convolutions.

    Raises
    ------
    InvalidHyperparam
        If not one of rank and energy is given, or it is not legal.

    Examples
    --------
    >>> import nbopt, torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 3))
    >>> run = nbopt.Run(model, (torch.randn(60, 64), torch.arange(60) % 3), epochs=4, store=None)
    >>> run.step(2)
    >>> smaller = run.change(nbopt.edits.Factorize(rank=4))
    >>> [tuple(weight.shape) for weight in smaller.model[0].parameters()]
    [(4, 64), (32, 4), (32,)]
    """

    rank: Any = None
    energy: Any = None
    layers: Any = ("*",)
    ranks: Any = field(default=(), repr=False)

    kind: ClassVar[str] = "factorize"
    keeps: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check what was given, or stood in a journal."""
        if (self.rank is None) is (self.energy is None):
            raise InvalidHyperparam(_("give rank, units between the two layers, or energy, the share that is kept."))
        if self.rank is not None and (type(self.rank) is not int or self.rank < 1):
            rule = _("rank must be a whole number of at least 1")
            raise InvalidHyperparam(_("{rule}; got {value}.", rule=rule, value=shorten(self.rank)))
        number = isinstance(self.energy, (int, float)) and not isinstance(self.energy, bool)
        if self.energy is not None and not (number and 0 < self.energy <= 1):
            rule = _("energy must be a number above 0, up to 1")
            raise InvalidHyperparam(_("{rule}; got {value}.", rule=rule, value=shorten(self.energy)))
        object.__setattr__(self, "layers", read_patterns(self.layers))
        pairs = tuple(map(tuple, self.ranks))
        if not all(len(pair) == 2 and type(pair[0]) is str and type(pair[1]) is int and pair[1] > 0 for pair in pairs):
            raise InvalidHyperparam(_("ranks must hold a layer and its rank each."))
        object.__setattr__(self, "ranks", pairs)

    def prepare(self, training: Training) -> Self:
        """Find the rank of each layer that is worth it."""
        layers = pick(training.model, self.layers, is_matrix)
        if not layers:
            raise self.refuse(_("none of these layers is a linear one or a convolution of torch's own"))
        ranks = tuple(self._worth(layers))
        if not ranks:
            names = ", ".join(layers)
            raise self.refuse(_("it would save no weights of {names}: take a lower rank or energy", names=names))
        return replace(self, ranks=ranks)

    def _worth(self, layers: dict[str, nn.Module]) -> Iterator[tuple[str, int]]:
        for name, layer in layers.items():
            weight = matrix_of(layer)
            if not bool(torch.isfinite(weight).all()):
                raise self.refuse(_("{name} has weights that are no numbers", name=name))
            rank = self.rank or _rank_of(torch.linalg.svdvals(weight), self.energy)
            rows, columns = weight.shape
            if rank * (rows + columns) < rows * columns:
                yield name, rank

    def write(self, number: int) -> Written:
        """Return the statements of a script that put the factors in their places."""
        made = [
            line
            for name, rank in self.ranks
            for line in (
                f"layer = model.get_submodule({literal(name)})",
                f"put_module(model, optimizer, layer, factored(layer, {rank}))",
            )
        ]
        return Written(made, [factored])

    def plan(self, model: nn.Module, generator: torch.Generator) -> Plan:
        """Return the factors."""
        modules: dict[str, nn.Module | None] = {}
        words = []
        for name, rank in self.ranks:
            layer = find_layer(model, name)
            if not is_matrix(layer) or rank > min(matrix_of(layer).shape):
                raise CannotEdit(_("{name} is no layer to factorize so.", name=name))
            modules.update(everywhere(model, layer, factored(layer, rank)))
            words.append(_("{layer}: rank {rank}", layer=name, rank=rank))
        return Plan({}, [], ", ".join(words), modules)


def _rank_of(values: Tensor, energy: float) -> int:
    """Return how many of the largest singular values have this share of all their squares."""
    shares = values.square().cumsum(0) / values.square().sum()
    return min(len(values), int((shares < energy * (1 - 1e-12)).sum()) + 1)
