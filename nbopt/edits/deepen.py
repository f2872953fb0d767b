"""Adding a layer without changing what the model computes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn

from nbopt.edits.picking import Outputs, everywhere, find_layer
from nbopt.edits.written import deepened
from nbopt.errors import InvalidHyperparam, shorten, unknown
from nbopt.export.edits import Written
from nbopt.export.source import literal
from nbopt.i18n import _
from nbopt.training.structure.edit import CannotEdit, Edit, Plan
from nbopt.training.trial import watch_step

if TYPE_CHECKING:
    from nbopt.training.training import Training

_KINDS: dict[int, type[nn.Module]] = {2: nn.Linear, 3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}
"""What is added, by the dimensions of outputs; those of sequences, units last, count as 2."""


@dataclass(frozen=True)
class Deepen(Edit):
    """Add a layer behind another one, and leave what the model computes as it is (network morphism).

    Behind a ``torch.nn.ReLU``, that is a layer that passes everything on, and another ReLU (Net2DeeperNet, Chen et al.
    2016). Behind any other layer, two are added beside it, a residual connection whose second layer begins at 0 (Wei et
    al. 2016). Outputs of images get convolutions of 3 x 3, all others linear layers.

    Parameters
    ----------
    after : str
        The name of a layer in ``model.named_modules()`` that returns a tensor.
    width : int, optional
        Units of the first of the two layers; by default as many as the layer has outputs. A layer behind a ReLU takes
        none.

    Raises
    ------
    InvalidHyperparam
        If these are not legal.

    Examples
    --------
    >>> import nbopt, torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    >>> run = nbopt.Run(model, (torch.randn(60, 4), torch.arange(60) % 3), epochs=4, store=None)
    >>> run.step(2)
    >>> deeper = run.change(nbopt.edits.Deepen("1"))
    >>> deeper.model[1]
    Sequential(
      (0): ReLU()
      (1): Linear(in_features=8, out_features=8, bias=True)
      (2): ReLU()
    )
    """

    after: str
    width: Any = None
    shape: Any = field(default=(), repr=False)

    kind: ClassVar[str] = "deepen"

    def __post_init__(self) -> None:
        """Check what was given, or stood in a journal."""
        if not isinstance(self.after, str):
            raise InvalidHyperparam(_("after must be the name of a layer; got {value}.", value=shorten(self.after)))
        if self.width is not None and (type(self.width) is not int or not 1 <= self.width <= 2**20):
            rule = _("width must be a whole number of at least 1")
            raise InvalidHyperparam(_("{rule}; got {value}.", rule=rule, value=shorten(self.width)))
        if not all(type(size) is int and size > 0 for size in self.shape):
            raise InvalidHyperparam(_("shape must hold sizes."))
        object.__setattr__(self, "shape", tuple(self.shape))

    def prepare(self, training: Training) -> Self:
        """Find out what the layer puts out: how many dimensions, and how many units."""
        modules = {name: module for name, module in training.model.named_modules() if name}
        if self.after not in modules:
            raise unknown(_("layer"), self.after, modules)
        layer = modules[self.after]
        outputs = Outputs(layer)
        watch_step(training, outputs)
        if not outputs.held:
            raise self.refuse(_("the forward pass does not call it"))
        made = outputs.held[0]
        if not isinstance(made, Tensor) or made.ndim < 2 or not made.is_floating_point():
            raise self.refuse(_("it does not return a tensor of units"))
        images = made.ndim > 3 or isinstance(layer, nn.Conv1d)
        if images and made.ndim > 5:
            raise self.refuse(_("its outputs have {count} dimensions", count=made.ndim))
        if type(layer) is nn.ReLU and self.width is not None:
            raise self.refuse(_("a layer behind a ReLU has as many units as it; leave width out"))
        units = made.shape[1] if images else made.shape[-1]
        if any(one.shape[1 if images else -1] != units for one in outputs.held):
            raise self.refuse(_("it is called on several sizes"))
        return replace(self, shape=(made.ndim if images else 2, units))

    def write(self, number: int) -> Written:
        """Return the statements of a script that put the layer and what is added in its place."""
        kind, units = _KINDS[self.shape[0]].__name__, self.shape[1]
        made = [
            f"layer = model.get_submodule({literal(self.after)})",
            "like = next(w for w in model.parameters() if w.is_floating_point())",
            f"seed = derive_seed(SEED, EDITS, {number})",
            "generator = torch.Generator().manual_seed(seed)",
            f"sizes = {units}, {self.width or units}",
            f"made = deepened(layer, nn.{kind}, *sizes, like, generator)",
            "put_module(model, optimizer, layer, made)",
        ]
        return Written(made, [deepened])

    def plan(self, model: nn.Module, generator: torch.Generator) -> Plan:
        """Return what stands in the layer's place: itself, and what is added."""
        layer = find_layer(model, self.after)
        if len(self.shape) != 2 or self.shape[0] not in _KINDS:
            raise CannotEdit(_("it is not known what {name} puts out.", name=self.after))
        like = next((weight for weight in model.parameters() if weight.is_floating_point()), torch.zeros(()))
        units = self.shape[1]
        made = deepened(layer, _KINDS[self.shape[0]], units, self.width or units, like, generator)
        words = _("behind {layer}: {kind}", layer=self.after, kind=_KINDS[self.shape[0]].__name__)
        return Plan({}, [], words, everywhere(model, layer, made))
