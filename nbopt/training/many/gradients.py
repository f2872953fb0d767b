"""Losses and gradients of many models of one shape, by `torch.func.vmap` over the pass that a compiled step does.

The operations that this leads to are written down, where that can be done, see `traced.py`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy, deepcopy
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from nbopt.i18n import _
from nbopt.techniques.losses.base import Loss
from nbopt.training.compile.marks import find_attributes
from nbopt.training.compile.step import Layer, find_layers, find_trained, stand_in
from nbopt.training.many.traced import Traced, never
from nbopt.training.step.passes import Forward, call_on_pair
from nbopt.training.training import Training

Settings = Mapping[str, Any]
"""The loss's own hyperparameters by name; one that differs between runs is a tensor of shape (runs,)."""


class Passed(NamedTuple):
    """What a pass of all models gave.

    Attributes
    ----------
    gradients : list of Tensor
        Of the trained weights, (runs, ...).
    losses : Tensor
        (runs,).
    outputs : Tensor
        (runs, batch, ...).
    targets : Tensor
        Those that the forward function makes of the batch, (runs, ...).
    buffers : list of Tensor
        What the pass made of them, (runs, ...).
    """

    gradients: list[Tensor]
    losses: Tensor
    outputs: Tensor
    targets: Tensor
    buffers: list[Tensor]


class Gradients:
    """Computes them for all runs at once.

    Parameters
    ----------
    training : Training
        One of the runs; the others differ from it in numbers alone.
    batch : tuple of Tensor
        (x, y), to find out about noise.

    Raises
    ------
    CannotCompile
        If the model draws noise that cannot be fed to it.

    Attributes
    ----------
    size : int
        How many numbers a step of one run is about.
    """

    def __init__(self, training: Training, batch: tuple[Tensor, Tensor]) -> None:
        self._twin, dropping = stand_in(training.model)
        self._dropping, self._noise, self._forward = dropping, training.noise, training.pass_.forward
        self._layers: dict[Any, list[Layer]] = {}
        layers = self.layers(batch)
        self._judged = deepcopy(training.model).eval()
        self.size = _size_of(self._judged, self._forward, batch)
        self._loss = copy(training.loss)
        masks = [f"{layer.name}.mask" for layer in layers]
        self._names = [name for name, _weight in find_trained(self._twin)]
        self._fixed = [name for name, weight in self._twin.named_parameters() if not weight.requires_grad]
        self._buffers = [name for name, _buffer in self._twin.named_buffers() if name not in masks]
        self._masks = masks
        self._find: Callable[..., Any] = grad_and_value(self._lose, has_aux=True)
        # Functions of the user's may do anything at any time.
        self._traced = Traced(self._twin) if self._forward is call_on_pair and not self._loss.draws else None

    def layers(self, batch: tuple[Tensor, Tensor]) -> list[Layer]:
        """Return the dropout layers, in the order in which they draw for a batch of this shape."""
        if (found := self._layers.get(batch[0].shape)) is None:
            found = find_layers(self._twin, self._dropping, batch, self._noise, [], self._forward)
            self._layers[batch[0].shape] = found
        return found

    def _lose(
        self,
        weights: list[Tensor],
        fixed: list[Tensor],
        buffers: list[Tensor],
        masks: list[Tensor],
        settings: dict[str, Any],
        x: Tensor,
        y: Any,
    ) -> tuple[Tensor, tuple[Tensor, Tensor, list[Tensor]]]:
        own = [buffer.clone() for buffer in buffers]  # layers write to their statistics
        names = (*self._names, *self._fixed, *self._buffers, *self._masks)
        tensors = dict(zip(names, (*weights, *fixed, *own, *masks), strict=True))
        output, target = self._pass(self._twin, tensors, (x, y))
        loss = self._with(settings)
        return loss(output, loss.prepare(output, target)), (output, target, own)

    def _with(self, settings: Settings) -> Loss:
        """Return the loss with these hyperparameters of its own."""
        loss = copy(self._loss)
        vars(loss).update(settings)
        return loss

    def _pass(self, model: nn.Module, tensors: dict[str, Tensor], batch: tuple[Tensor, Any]) -> tuple[Tensor, Any]:
        """Return output and target of a batch, the model computing with these tensors."""
        if self._forward is call_on_pair:
            return functional_call(model, tensors, (batch[0],)), batch[1]
        named = {f"model.{name}": tensor for name, tensor in tensors.items()}
        output, target = functional_call(Called(model), named, (self._forward, batch))
        return output, target

    def __call__(
        self,
        weights: Sequence[Tensor],
        fixed: Sequence[Tensor],
        buffers: Sequence[Tensor],
        masks: Sequence[Tensor],
        settings: Settings,
        batch: tuple[Tensor, Tensor],
        together: bool,
        is_urgent: Callable[[], bool] = never,
    ) -> Passed:
        """Do a pass, as in a step.

        Parameters
        ----------
        weights, fixed, buffers : sequence of Tensor
            As `Stack` has them.
        masks : sequence of Tensor
            One for each dropout layer, (runs, ...), or without that dimension where it is the same for all.
        settings : mapping
        batch : tuple of Tensor
            (x, y), where it is not the same for all with a first dimension for runs.
        together : bool
            Whether it is the same for all.
        is_urgent : callable
            Whether to break off in the middle, see `Traced`.
        """
        layers = next(iter(self._layers.values()))
        differ = [0 if mask.ndim > layer.ones.ndim else None for mask, layer in zip(masks, layers, strict=True)]
        own, same = _split(settings)
        dims = ([0] * len(weights), [0] * len(fixed), [0] * len(buffers), differ, _dims_of(own), *_dims(together))
        counts = [*map(len, (weights, fixed, buffers, masks, own))]

        def find_one(*given: Any) -> Any:
            *tensors, named, x, y = given
            return self._find(*tensors, same | named, x, y)

        def find(*flat: Tensor) -> Sequence[Tensor]:
            rest = iter(flat)
            *taken, values = ([*islice(rest, count)] for count in counts)
            named = dict(zip(own, values, strict=True))
            gradients, (losses, (outputs, targets, changed)) = vmap(find_one, in_dims=dims)(*taken, named, *rest)
            if not isinstance(outputs, Tensor) or not isinstance(targets, Tensor):
                raise TypeError(_("the forward function returns more than an output and its target"))
            return [*gradients, losses, outputs, targets, *changed]

        flat = [*weights, *fixed, *buffers, *masks, *own.values(), *batch]
        held = len(weights) + len(fixed) + len(buffers)
        stacked = [True] * held + [dim == 0 for dim in differ] + [True] * len(own) + [not together] * 2
        count = len(weights)
        with _quiet():
            form = (*counts, *differ, together, *own, repr(same))
            if self._traced is None:
                found = find(*flat)
            else:
                found = self._traced(find, form, flat, stacked, is_urgent)
        losses, outputs, targets = found[count : count + 3]
        return Passed([*found[:count]], losses, outputs, targets, [*found[count + 3 :]])

    def take_over(self, before: Gradients) -> None:
        """Go on with the operations of a model that is the same but for numbers, where this one is."""
        mine, theirs = self._traced, before._traced
        if mine is not None and theirs is not None and self._form() == before._form() and mine.reads_as(theirs):
            self._traced = theirs

    def _form(self) -> tuple[Any, ...]:
        modules = [(type(module), module.training) for module in self._twin.modules()]
        names = self._names, self._fixed, self._buffers, self._masks
        return type(self._loss), names, modules, find_attributes(self._twin)

    def evaluate(
        self,
        weights: Sequence[Tensor],
        fixed: Sequence[Tensor],
        buffers: Sequence[Tensor],
        settings: Settings,
        batch: tuple[Tensor, Tensor],
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return outputs (runs, batch, ...), targets and losses (runs,) of a batch that is not trained on."""
        names = (*self._names, *self._fixed, *self._buffers)
        own, same = _split(settings)

        def judge(tensors: list[Tensor], named: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
            output, target = self._pass(self._judged, dict(zip(names, tensors, strict=True)), batch)
            loss = self._with(same | named)
            return output, target, loss.measure_of_many(output, loss.prepare(output, target))

        with torch.no_grad(), _quiet():
            outputs, targets, losses = vmap(judge)([*weights, *fixed, *buffers], own)
        return outputs, targets, losses


def _size_of(model: nn.Module, forward: Forward, batch: tuple[Tensor, Tensor]) -> int:
    """Return how many numbers a step is about, roughly: weights, their gradients, and what layers put out."""
    put_out = []

    def note(_module: nn.Module, _inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            put_out.append(output.numel())

    hooks = [module.register_forward_hook(note) for module in model.modules() if not [*module.children()]]
    with torch.no_grad():
        forward(model, batch)
    for hook in hooks:
        hook.remove()
    return 2 * sum(weight.numel() for weight in model.parameters()) + sum(put_out) + batch[0].numel()


def _split(settings: Settings) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the settings in which runs differ, and those that are the same for all."""
    own = {name: value for name, value in settings.items() if isinstance(value, Tensor)}
    return own, {name: value for name, value in settings.items() if name not in own}


def _dims_of(named: Mapping[str, Any]) -> dict[str, int]:
    return dict.fromkeys(named, 0)


def _dims(together: bool) -> tuple[int | None, int | None]:
    return (None, None) if together else (0, 0)


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what torch says of operations that it does one after the other."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


class Called(nn.Module):
    """A function of a model and a batch, as a module."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, function: Callable[[nn.Module, Any], Any], batch: Any) -> Any:
        """Return what the function returns."""
        return function(self.model, batch)
