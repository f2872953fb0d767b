"""Widening a layer without changing what the model computes (Chen, Goodfellow and Shlens 2016, Net2Net)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import nn

from nbopt.edits.finding import Found, find_units
from nbopt.edits.traversal import find_sources, is_pattern, read_pattern, to_pattern
from nbopt.edits.units import INTO, OUT
from nbopt.errors import InvalidHyperparam, shorten, unknown
from nbopt.i18n import _
from nbopt.training.structure.edit import CannotEdit, Edit, Plan, Resize

if TYPE_CHECKING:
    from nbopt.training.training import Training

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Embedding, nn.RNNBase, *_TRANSPOSED)
_MOST = 2**20  # units that a layer may get: more is a slip of the pen, or a spoilt store


@dataclass(frozen=True)
class Widen(Edit):
    """Give a layer more units, and leave what the model computes as it is (Net2Net, Chen et al. 2016).

    Each new unit is a copy of one that is there, and the layers that take its outputs share its weight out among the
    copies. The shares are drawn, and differ, so that the copies learn different things from the next step on; the
    paper adds noise instead, which changes the outputs. Outputs in evaluation mode are the same but for rounding;
    with dropout ahead of the next layer, those in training mode are so in the mean.

    What the optimizer remembers goes along as if the units had always been there: means of gradients are multiplied
    by each copy's share where the gradients are, means of their squares by its square. Weights that are frozen stay so,
    and the best weights so far, which the end of the run may restore, are widened alike.

    Parameters
    ----------
    layer : str
        The name of a linear, convolutional, embedding or recurrent layer in ``model.named_modules()``, whose outputs go
        on to other layers through what leaves units apart: activation functions, dropout, batch normalization, pooling,
        flattening, residual connections and concatenation. Layers that put out the same units get more too.
    by : int
        How many units more.

    Raises
    ------
    InvalidHyperparam
        If ``by`` is no whole number of at least 1.

    Examples
    --------
    >>> import nbopt, torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    >>> data = torch.randn(60, 4), torch.arange(60) % 3
    >>> run = nbopt.Run(model, data, epochs=4, store=None)
    >>> run.step(2)
    >>> wider = run.branch(at=2, edit=nbopt.Widen("0", by=4))
    >>> wider.model[0].out_features, run.model[0].out_features
    (12, 8)
    """

    layer: str
    by: int
    into: tuple[str, ...] = field(default=(), repr=False)
    through: tuple[str, ...] = field(default=(), repr=False)
    axes: Any = field(default=(), repr=False)

    kind: ClassVar[str] = "widen"

    def __post_init__(self) -> None:
        """Check what was given, or stood in a journal, which has lists for tuples."""
        if not isinstance(self.layer, str):
            raise InvalidHyperparam(_("layer must be the name of a layer; got {value}.", value=shorten(self.layer)))
        if isinstance(self.by, bool) or not isinstance(self.by, int) or not 1 <= self.by <= _MOST:
            rule = _("by must be a whole number from 1 to {most}, of units that the layer gets more", most=_MOST)
            raise InvalidHyperparam(_("{rule}; got {value}.", rule=rule, value=shorten(self.by)))
        for name in ("into", "through"):
            layers = getattr(self, name)
            if not isinstance(layers, (list, tuple)) or not all(isinstance(layer, str) for layer in layers):
                raise InvalidHyperparam(_("{name} must hold names of layers.", name=name))
            object.__setattr__(self, name, tuple(layers))
        axes = tuple(map(tuple, self.axes))
        for name, dim, takes, pattern in axes:
            if not isinstance(name, str) or type(dim) is not int or type(takes) is not bool or not is_pattern(pattern):
                raise InvalidHyperparam(_("{name} must tell where units stand.", name="axes"))
        object.__setattr__(self, "axes", axes)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return the edit that `to_json` wrote; earlier versions knew of linear layers alone."""
        return super().from_json({"axes": (), **value})

    def prepare(self, training: Training) -> Self:
        """Find out where in the weights the layer's units stand, by watching what a batch goes through."""
        modules = {name: module for name, module in training.model.named_modules() if name}
        if self.layer not in modules:
            raise unknown(
                _("layer"), self.layer, [name for name, module in modules.items() if isinstance(module, _KINDS)]
            )
        layer = modules[self.layer]
        if not isinstance(layer, _KINDS):
            kind = type(layer).__name__
            raise self.refuse(_("it is a {kind}, and no layer that puts out units of its own", kind=kind))
        found = find_units(training, self.refuse)
        name, dim = self._axis(layer)
        if (name, dim) not in found.units.axes:
            raise self.refuse(self._unfollowed(layer))
        roots = [found.units.root(unit) for unit in found.units.axes[name, dim].tolist()]
        if reason := self._obstacle(found, roots):
            raise self.refuse(reason)
        place = {root: index for index, root in enumerate(roots)}
        axes = []
        for (own, along), units in found.units.axes.items():
            indices = [place.get(found.units.root(unit), -1) for unit in units.tolist()]
            if 0 < len({*indices} - {-1}) < len(roots):
                taker = own.rpartition(".")[0] or own
                raise self.refuse(_("{layer} takes some of its outputs, and not all", layer=taker))
            if max(indices) >= 0:
                axes.append((own, along, INTO in found.units.roles[own, along], to_pattern(indices)))
        return replace(self, axes=tuple(axes))

    def _unfollowed(self, layer: nn.Module) -> str:
        if isinstance(layer, nn.modules.conv._ConvNd) and layer.groups > 1:
            return _("it is a convolution in groups, each of which takes and puts out units of its own")
        if isinstance(layer, nn.LSTM) and layer.proj_size:
            return _("it is an LSTM with projections")
        return _("the forward pass does not call it with its own weights")

    def _axis(self, layer: nn.Module) -> tuple[str, int]:
        """Return a weight of the layer, and the dimension along which its units stand."""
        if isinstance(layer, nn.RNNBase):
            return f"{self.layer}.weight_hh_l0", 1
        return f"{self.layer}.weight", 1 if isinstance(layer, (nn.Embedding, *_TRANSPOSED)) else 0

    def _obstacle(self, found: Found, roots: list[int]) -> str:
        """Say in words why the layer cannot have more outputs; "" if it can."""
        if reason := next((found.fixed[root] for root in roots if root in found.fixed), ""):
            return reason
        if len(set(roots)) < len(roots):
            return _("some of its units are joined with others of its own")
        if any(found.units.root(int(row[0])) in roots for rows in found.units.together for row in rows):
            return _("it has several layers or directions, which have one size")
        here = [axis for root in roots for axis in found.groups[root]]
        if any({INTO, OUT} <= found.units.roles[axis] for axis in here):
            return _("another layer has the same weight")
        if not any(INTO in found.units.roles[axis] for axis in here):
            return _("no layer takes its outputs")
        return ""

    def plan(self, model: nn.Module, generator: torch.Generator) -> Plan:
        """Return what is to be done to the weights: of the layer, and of those behind it."""
        tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        axes = self.axes or self._linear(model)
        if not any(name.startswith(f"{self.layer}.") for name, *_rest in axes):
            raise CannotEdit(_("the model has no layer {name}.", name=self.layer))
        count = 1 + max((max(read_pattern(pattern)) for *_others, pattern in axes), default=0)
        rounds = [torch.randperm(count, generator=generator) for _round in range(-(-self.by // count))]
        units = torch.cat([torch.arange(count), torch.cat(rounds)[: self.by]])
        parts = 0.5 + torch.rand(len(units), generator=generator, dtype=torch.float64)
        shares = parts / torch.zeros(count, dtype=torch.float64).index_add(0, units, parts)[units]
        resizes = dict[str, list[Resize]]()
        for name, dim, takes, pattern in axes:
            indices = read_pattern(pattern)
            if name not in tensors or tensors[name].shape[dim] != len(indices):
                raise CannotEdit(_("{name} has not the size of the weight that is to be widened.", name=name))
            sources, copies = find_sources(indices, units[count:].tolist())
            factors = torch.tensor([1.0 if copy < 0 else float(shares[copy]) for copy in copies], dtype=torch.float64)
            made = (
                Resize(dim, torch.tensor(sources), factors)
                if takes
                else Resize(dim, torch.tensor(sources), None, factors)
            )
            resizes.setdefault(name, []).append(made)
        words = _("{layer}: {before} → {after} units", layer=self.layer, before=count, after=count + self.by)
        return Plan(resizes, [], words)

    def _linear(self, model: nn.Module) -> list[tuple[str, int, bool, Any]]:
        """Return where units stand by the names of the layers that have them all."""
        layer = _find(model, self.layer)
        plain = [[0, 1, len(layer.weight)]]
        own = [(f"{self.layer}.{name}", 0, False, plain) for name, _weight in layer.named_parameters()]
        for place in self.through:
            held = [*_find(model, place).named_parameters(), *_find(model, place).named_buffers()]
            own += [(f"{place}.{name}", 0, False, plain) for name, tensor in held if tensor.ndim]
        return [*own, *((f"{place}.weight", 1, True, plain) for place in self.into if _find(model, place))]


def _find(model: nn.Module, name: str) -> Any:
    """Return the layer of this name, which an edit that was stored speaks of."""
    found = dict(model.named_modules()).get(name)
    if not isinstance(found, (nn.Linear, nn.BatchNorm1d)):
        raise CannotEdit(_("the model has no {kind} {name}, which is to be widened.", kind="Linear", name=name))
    return found
