"""Widening a layer without changing what the model computes (Chen, Goodfellow and Shlens 2016, Net2Net)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn

from nbopt.edits.tracking import Tracking
from nbopt.errors import InvalidHyperparam, shorten, unknown
from nbopt.i18n import _
from nbopt.training.edit_base import CannotEdit, Edit, Plan, Resize
from nbopt.training.trial import watch_passes

if TYPE_CHECKING:
    from nbopt.training.training import Training

_MOST = 2**20  # units that a layer may get: more is a slip of the pen, or a spoilt store


@dataclass(frozen=True)
class Widen(Edit):
    """Give a linear layer more units, and leave what the model computes as it is (Net2Net, Chen et al. 2016).

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
        The name of a ``torch.nn.Linear`` in ``model.named_modules()``, whose outputs go on to other linear layers
        through nothing but activation functions, dropout and batch normalization.
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

    def prepare(self, training: Training) -> Self:
        """Find out which layers take the layer's outputs, by watching what a batch goes through."""
        modules = dict(training.model.named_modules())
        linear = {name: module for name, module in modules.items() if type(module) is nn.Linear}
        if self.layer not in modules:
            raise unknown(_("layer"), self.layer, linear)
        layer = modules[self.layer]
        if type(layer) is not nn.Linear:
            kind = type(layer).__name__
            raise self.refuse(_("it is a {kind}, and only torch.nn.Linear can be widened so far", kind=kind))
        norms = {name: module for name, module in modules.items() if type(module) is nn.BatchNorm1d}
        tracking = Tracking(layer, linear, norms)
        outputs = watch_passes(training, tracking)
        if not tracking.calls and training.acting.change_weights:
            raise self.refuse(_("a technique that acts has the model compute with others in the place of its weights"))
        if not tracking.calls:
            raise self.refuse(_("the forward pass does not call it with its own weights"))
        if any(map(tracking.follows, outputs)):
            raise self.refuse(_("its outputs are those of the model, which loss and data expect as they are"))
        if tracking.obstacle:
            raise self.refuse(tracking.obstacle)
        if not tracking.into:
            raise self.refuse(_("no linear layer takes its outputs"))
        return replace(self, into=tuple(tracking.into), through=tuple(tracking.through))

    def plan(self, model: nn.Module, generator: torch.Generator) -> Plan:
        """Return what is to be done to the weights: of the layer, and of those behind it."""
        layer = _find(model, self.layer, nn.Linear)
        count, resizes = layer.out_features, dict[str, Resize]()
        rounds = [torch.randperm(count, generator=generator) for _round in range(-(-self.by // count))]
        units = torch.cat([torch.arange(count), torch.cat(rounds)[: self.by]])
        parts = 0.5 + torch.rand(len(units), generator=generator, dtype=torch.float64)
        shares = parts / torch.zeros(count, dtype=torch.float64).index_add(0, units, parts)[units]
        made = Resize(0, units, gradients=shares)
        attributes = [(self.layer, "out_features", count + self.by)]
        resizes.update({f"{self.layer}.{name}": made for name, _weight in layer.named_parameters()})
        for name in self.through:
            norm = _find(model, name, nn.BatchNorm1d)
            _check_size(name, norm.num_features, count)
            attributes.append((name, "num_features", count + self.by))
            resizes.update({f"{name}.{own}": made for own, held in _tensors(norm).items() if held.ndim})
        for name in self.into:
            following = _find(model, name, nn.Linear)
            _check_size(name, following.in_features, count)
            attributes.append((name, "in_features", count + self.by))
            resizes[f"{name}.weight"] = Resize(1, units, values=shares)
        words = _("{layer}: {before} → {after} units", layer=self.layer, before=count, after=count + self.by)
        return Plan(resizes, attributes, words)


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return dict([*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)])


def _find(model: nn.Module, name: str, kind: type[Any]) -> Any:
    found = dict(model.named_modules()).get(name)
    if type(found) is not kind:
        raise CannotEdit(_("the model has no {kind} {name}, which is to be widened.", kind=kind.__name__, name=name))
    return found


def _check_size(name: str, size: int, count: int) -> None:
    if size != count:
        raise CannotEdit(
            _("{name} takes {size} units, not the {count} of the layer.", name=name, size=size, count=count)
        )
