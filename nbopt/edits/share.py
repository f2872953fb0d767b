"""Parameter sharing: several layers with one weight, or many places of a weight with one number."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import nn

from nbopt.edits.picking import everywhere, find_layer, is_matrix, pick, read_patterns
from nbopt.edits.written import clustered
from nbopt.errors import InvalidHyperparam, shorten
from nbopt.export.edits import Written
from nbopt.export.source import literal
from nbopt.i18n import _
from nbopt.training.structure.edit import CannotEdit, Edit, Plan

if TYPE_CHECKING:
    from nbopt.training.training import Training


@dataclass(frozen=True)
class Share(Edit):
    """Have layers share what they have: their weights, or within each, its numbers.

    Without ``clusters``, the layers become one, the first of them, which stands at all their places. With it, the
    numbers in each layer's weight are put into that many clusters (k-means), and those of a cluster are one number from
    then on, which gets the sum of their gradients (Han et al. 2016, section 3); layers that have no more numbers than
    that stay as they are. How far outputs move stands in the journal.

    Parameters
    ----------
    layers : str or sequence of str
        Names of layers, ``*`` for any text.
    clusters : int, optional
        Values that each weight has afterwards, from 2 to 65,536.

    Raises
    ------
    InvalidHyperparam
        If these are not legal.

    Examples
    --------
    >>> import nbopt, torch
    >>> layers = [torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)]
    >>> run = nbopt.Run(torch.nn.Sequential(*layers), (torch.randn(60, 4), torch.arange(60) % 3), epochs=4, store=None)
    >>> run.step(2)
    >>> shared = run.change(nbopt.edits.Share(["2", "3"]))
    >>> shared.model[2] is shared.model[3]
    True
    >>> clustered = run.change(nbopt.edits.Share("2", clusters=16))
    >>> len(clustered.model[2].weight.unique()) <= 16
    True
    """

    layers: Any
    clusters: Any = None
    names: Any = field(default=(), repr=False)

    kind: ClassVar[str] = "share"
    keeps: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check what was given, or stood in a journal."""
        object.__setattr__(self, "layers", read_patterns(self.layers))
        if self.clusters is not None and (type(self.clusters) is not int or not 2 <= self.clusters <= 2**16):
            rule = _("clusters must be a whole number from 2 to 65,536")
            raise InvalidHyperparam(_("{rule}; got {value}.", rule=rule, value=shorten(self.clusters)))
        if not all(isinstance(name, str) for name in self.names):
            raise InvalidHyperparam(_("{name} must hold names of layers.", name="names"))
        object.__setattr__(self, "names", tuple(self.names))

    def prepare(self, training: Training) -> Self:
        """Find the layers."""
        layers = pick(training.model, self.layers, self._fits)
        if not layers:
            raise self.refuse(_("none of these layers has weights that could be shared"))
        if self.clusters is None:
            first, *others = layers
            if not others:
                raise self.refuse(_("there is no other layer that {name} could share its weights with", name=first))
            for name in others:
                if reason := _differ(layers[first], layers[name]):
                    raise self.refuse(f"{first}, {name}: {reason}")
        if self.clusters:
            weights = {name: next(iter(layer.parameters())).detach() for name, layer in layers.items()}
            if wrong := next((name for name, weight in weights.items() if not bool(torch.isfinite(weight).all())), ""):
                raise self.refuse(_("{name} has weights that are no numbers", name=wrong))
            layers = {name: layers[name] for name, weight in weights.items() if weight.numel() > self.clusters}
            if not layers:
                names = ", ".join(weights)
                raise self.refuse(_("{names}: none has more than {count} numbers", names=names, count=self.clusters))
        return replace(self, names=tuple(layers))

    def _fits(self, layer: nn.Module) -> bool:
        if self.clusters is None:
            return any(True for _weight in layer.parameters(recurse=False))
        return is_matrix(layer) and getattr(layer, "padding_mode", "zeros") == "zeros"

    def write(self, number: int) -> Written:
        """Return the statements of a script that have layers share what they have."""
        if self.clusters is None:
            first, *others = self.names
            made = [f"layer = model.get_submodule({literal(first)})"]
            for name in others:
                made.append(f"other = model.get_submodule({literal(name)})")
                made.append("put_module(model, optimizer, other, layer)")
            return Written(made)
        made = []
        for name in self.names:
            made.append(f"layer = model.get_submodule({literal(name)})")
            made.append(f"put_module(model, optimizer, layer, clustered(layer, {self.clusters}))")
        return Written(made, [clustered])

    def plan(self, model: nn.Module, generator: torch.Generator) -> Plan:
        """Return what stands in the places of the layers."""
        modules: dict[str, nn.Module | None] = {}
        if self.clusters is None:
            first, *others = self.names
            for name in others:
                layer = find_layer(model, name)
                if reason := _differ(find_layer(model, first), layer):
                    raise CannotEdit(reason)
                modules.update(everywhere(model, layer, find_layer(model, first)))
            return Plan({}, [], _("one layer: {names}", names=", ".join(self.names)), modules)
        for name in self.names:
            layer = find_layer(model, name)
            if not self._fits(layer):
                raise CannotEdit(_("{name} is no layer whose weight could be clustered.", name=name))
            modules.update(everywhere(model, layer, clustered(layer, self.clusters)))
        words = _("{names}: {count} values", names=", ".join(self.names), count=self.clusters)
        return Plan({}, [], words, modules)


def _differ(one: nn.Module, other: nn.Module) -> str:
    """Say in words why two layers cannot be one; "" if they can."""
    if type(one) is not type(other) or one.extra_repr() != other.extra_repr():
        return _("they are not alike")
    ours, others = dict(one.named_parameters()), dict(other.named_parameters())
    if {name: weight.shape for name, weight in ours.items()} != {name: weight.shape for name, weight in others.items()}:
        return _("their weights have other shapes")
    return ""
