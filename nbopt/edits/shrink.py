"""Taking units away that are not needed: neurons, channels and hidden units of recurrent layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn

from nbopt.edits.finding import Axis, Found, find_units
from nbopt.edits.heads import FewerHeads, find_heads, places_of
from nbopt.edits.picking import check_patterns, everywhere, find_layer, read_patterns
from nbopt.edits.ranges import from_ranges, is_ranges, to_ranges
from nbopt.edits.units import INTO
from nbopt.errors import InvalidHyperparam, shorten
from nbopt.export.edits import Written
from nbopt.export.source import literal
from nbopt.i18n import _
from nbopt.training.structure.edit import CannotEdit, Edit, Plan, Resize

if TYPE_CHECKING:
    from nbopt.training.training import Training

_MOST_NAMED = 6  # layers in words


@dataclass(frozen=True)
class Shrink(Edit):
    """Take away neurons, channels, hidden units and heads, so that the model is smaller and faster for real.

    Without ``amount``, just those go that make no difference: all weights that put them out are 0, as structured
    pruning leaves them, and so is what comes of them, or all weights that take them are. What the model computes is the
    same before and after. With ``amount``, that share goes of the units of each layer whose weights have the smallest
    norm (Li et al. 2017), and training has to make up for it.

    Units are followed through a pass of the next batch: through residual connections, whose layers keep the same ones,
    batch normalization, flattening, concatenation, layers that are used several times, GRU and LSTM. Where they meet
    something that joins them, as layer normalization or a softmax, they stay, and so do the model's outputs. Heads go
    from ``torch.nn.MultiheadAttention``, in whose place a module comes that may have fewer. What the optimizer
    remembers of the weights that are left goes on, and the best weights so far shrink alike.

    Parameters
    ----------
    amount : float
        Share of the units of each layer that goes, from 0 to below 1; 0 for those alone that make no difference.
    layers : str or sequence of str, optional
        The layers that may shrink, by names as `model.named_modules` has them, ``*`` for any text; by default all.

    Raises
    ------
    InvalidHyperparam
        For another amount.

    Examples
    --------
    >>> import nbopt, torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    >>> run = nbopt.Run(model, (torch.randn(60, 4), torch.arange(60) % 3), epochs=4, store=None)
    >>> run.step(2)
    >>> smaller = run.change(nbopt.edits.Shrink(amount=0.5))
    >>> smaller.model[0].out_features, run.model[0].out_features
    (8, 16)
    """

    amount: float = 0.0
    layers: Any = ("*",)
    keep: Any = field(default=None, repr=False)
    into: Any = field(default=(), repr=False)
    sizes: Any = field(default=(), repr=False)
    heads: Any = field(default=(), repr=False)
    left: Any = field(default=(), repr=False)

    kind: ClassVar[str] = "shrink"

    def __post_init__(self) -> None:
        """Check what was given, or stood in a journal."""
        number = isinstance(self.amount, (int, float)) and not isinstance(self.amount, bool)
        if not number or not 0 <= self.amount < 1:
            rule = _("amount must be a number from 0 to below 1, the share of units that goes")
            raise InvalidHyperparam(_("{rule}; got {value}.", rule=rule, value=shorten(self.amount)))
        object.__setattr__(self, "layers", read_patterns(self.layers))
        for own in ("into", "sizes", "heads"):
            object.__setattr__(self, own, tuple(map(tuple, getattr(self, own))))
        object.__setattr__(self, "left", tuple(self.left))
        for name, dims in (self.keep or {}).items():
            if not isinstance(name, str) or not all(type(dim) is int and is_ranges(kept) for dim, kept in dims):
                raise InvalidHyperparam(_("keep must tell which places of weights stay."))

    def prepare(self, training: Training) -> Self:
        """Find the units that go, and where in the weights they stand."""
        if self.keep is not None:
            return self
        check_patterns(training.model, self.layers)
        found = find_units(training, self.refuse)
        rows = found.rows()
        going, left = set[int](), dict[str, None]()
        for row in rows:
            own = [unit for unit in row if self._may_go(found, unit)]
            free = [unit for unit in own if unit not in found.fixed]
            wanted = free if self.amount else [unit for unit in free if found.is_dead(unit)]
            for unit in own:
                if unit in found.fixed and unit not in found.outputs and (self.amount or found.is_dead(unit)):
                    left[f"{found.layer_of(unit)}: {found.fixed[unit]}"] = None
            count = int(self.amount * len(free)) if self.amount else len(wanted)
            count = min(count, len(row) - 1)  # a layer keeps a unit
            going.update(sorted(wanted, key=lambda unit: (found.norm(unit), unit))[:count])
        going = _even(found, going)
        keep, into, heads = self._heads(training)
        if not going and not heads:
            what = _("there is no unit that it could take away")
            none = _("none has weights that are all 0; amount=0.5 takes half of each layer's")
            few = _("amount={amount} is less than one unit of each layer: take more", amount=self.amount)
            why = "; ".join(left) or (few if self.amount else none)
            raise self.refuse(f"{what} ({why})")
        for (name, dim), units in found.units.axes.items():
            goes = torch.tensor([found.units.root(unit) in going for unit in units.tolist()])
            if bool(goes.any()):
                keep.setdefault(name, []).append([dim, to_ranges(torch.nonzero(~goes).flatten())])
                if INTO in found.units.roles[name, dim]:
                    into.append((name, dim))
        return replace(self, keep=keep, into=tuple(into), heads=heads, sizes=found.sizes(going), left=tuple(left))

    def _may_go(self, found: Found, unit: int) -> bool:
        layer = found.layer_of(unit)
        return bool(layer) and self._is_named(layer)

    def _is_named(self, layer: str) -> bool:
        return any(fnmatch(layer, pattern) for pattern in self.layers)

    def _heads(self, training: Training) -> tuple[dict[str, list[Any]], list[Axis], tuple[tuple[str, int, int], ...]]:
        """Return what stays of attention's weights, which of them take heads, and how many each layer has and keeps."""
        keep, into, heads = dict[str, list[Any]](), list[Axis](), []
        weights: dict[str, Tensor] = {**dict(training.model.named_parameters()), **training.acting.weights()}
        for own in find_heads(training.model, weights):
            going = torch.argsort(own.norms, stable=True)[: int(self.amount * own.size)]
            going = going if self.amount else torch.nonzero(own.dead).flatten()[: own.size - 1]
            if not len(going) or not self._is_named(own.name):
                continue
            kept = torch.tensor([head for head in range(own.size) if head not in going.tolist()])
            width = weights[f"{own.name}.out_proj.weight"].shape[1] // own.size
            for name, dim, parts in (("in_proj_weight", 0, 3), ("in_proj_bias", 0, 3), ("out_proj.weight", 1, 1)):
                if f"{own.name}.{name}" in weights:
                    places = to_ranges(places_of(kept, own.size, width, parts))
                    keep[f"{own.name}.{name}"] = [[dim, places]]
            into.append((f"{own.name}.out_proj.weight", 1))
            heads.append((own.name, own.size, len(kept)))
        return keep, into, tuple(heads)

    def write(self, number: int) -> Written:
        """Return the statements of a script that put layers of fewer heads in their places."""
        made = [
            line
            for name, _before, after in self.heads
            for line in (
                f"layer = model.get_submodule({literal(name)})",
                f"put_module(model, optimizer, layer, FewerHeads(layer, {after}))",
            )
        ]
        return Written(made, [FewerHeads] if self.heads else [])

    def plan(self, model: nn.Module, generator: torch.Generator) -> Plan:
        """Return what is left of each weight."""
        named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        resizes: dict[str, Sequence[Resize]] = {}
        for name, dims in (self.keep or {}).items():
            tensor = named.get(name)
            if tensor is None:
                raise CannotEdit(_("the model has no {name}, which is to shrink.", name=name))
            try:
                resizes[name] = [Resize(dim, from_ranges(kept, tensor.shape[dim])) for dim, kept in dims]
            except (IndexError, ValueError) as error:
                raise CannotEdit(_("{name} has not the shape of the weight to shrink.", name=name)) from error
        words = [_("{layer}: {before} → {after} units", layer=n, before=b, after=a) for n, b, a in self.sizes]
        modules: dict[str, nn.Module | None] = {}
        for name, before, after in self.heads:
            layer = find_layer(model, name)
            if type(layer) is not nn.MultiheadAttention or not 0 < after < layer.num_heads == before:
                raise CannotEdit(_("{name} has not the heads of the layer to shrink.", name=name))
            modules.update(everywhere(model, layer, FewerHeads(layer, after)))
            words.append(_("{layer}: {before} → {after} heads", layer=name, before=before, after=after))
        more = len(words) - _MOST_NAMED
        shown = [*words[:_MOST_NAMED], *([_("and {count} more", count=more)] if more > 0 else [])]
        stay = [_("not {layer}", layer=text) for text in self.left[:_MOST_NAMED]]
        return Plan(resizes, [], "; ".join([", ".join(shown), *stay]), modules)

    @contextmanager
    def expecting(self, model: nn.Module) -> Iterator[None]:
        """Have nothing take the units that go, where they make a difference."""
        if not self.amount:
            yield
            return
        named = dict(model.named_parameters())
        before = {name: named[name].data for name, _dim in self.into}
        try:
            for name, dim in self.into:
                data, kept = named[name].data, dict(map(tuple, (self.keep or {})[name]))[dim]
                stays = torch.zeros(data.shape[dim], dtype=torch.bool)
                stays[from_ranges(kept, data.shape[dim])] = True
                shape = [-1 if place == dim else 1 for place in range(data.ndim)]
                named[name].data = data * stays.to(data.device, data.dtype).reshape(shape)
            yield
        finally:
            for name, data in before.items():
                named[name].data = data


def _even(found: Found, going: set[int]) -> set[int]:
    """Return units to go, the same number in each layer and direction of a recurrent module."""
    for rows in found.units.together:
        own = [list(dict.fromkeys(map(found.units.root, row.tolist()))) for row in rows]
        counts = [[root for root in row if root in going] for row in own]
        fewest = min(map(len, counts))
        for row in counts:
            going -= set(row[fewest:])
    return going
