"""Several steps as one function of tensors: forward pass, loss, gradients and updates.

Whatever a person may change comes in as a tensor, noise included: dropout masks are drawn outside, from the generator
of each step, as the layers themselves would draw them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value

from nbopt.data.noise import Noise
from nbopt.parts.channels_last import lay_channels_last
from nbopt.parts.formulas import Formula
from nbopt.parts.loss_base import Loss
from nbopt.parts.precision import cast_to, widen
from nbopt.words import _


class CannotCompile(Exception):
    """Why a step stays eager, in words."""


Chunk = Callable[[list[Tensor]], Sequence[Tensor]]
"""Takes `Arguments.flat`, and may empty it; returns losses (k,) and, if they are wanted, outputs (k, batch, ...)."""


class Fed(nn.Module):
    """Stands in the place of a dropout layer, and takes its mask from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones(()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Leave out what the mask leaves out."""
        return x * self.mask  # type: ignore[operator]


class Signature(NamedTuple):
    """What a chunk is made for; anything else enters it as a tensor."""

    steps: int
    batch_size: int
    optimizer: type[torch.optim.Optimizer]
    loss: type[Any]
    outputs: bool
    threads: int
    precision: str
    channels_last: bool


class Layer(NamedTuple):
    """A dropout layer, in the order in which layers draw their noise.

    Attributes
    ----------
    name : str
        The module's.
    shape : torch.Size
        Of its input, for the batch size compiled for.
    """

    name: str
    shape: torch.Size


class Arguments(NamedTuple):
    """What a chunk of k steps takes; it writes to weights, buffers and state.

    Attributes
    ----------
    weights : list of Tensor
    buffers : list of Tensor
    fixed : list of Tensor
        Parameters that are not trained.
    state : list of Tensor
        The optimizer's, weight by weight.
    x, y : Tensor
        The samples of all k batches, (k * batch, ...).
    masks : list of Tensor
        For each dropout layer, (k, ...).
    numbers : Tensor
        (k, count): the L1 strength, then what the formula takes.
    """

    weights: list[Tensor]
    buffers: list[Tensor]
    fixed: list[Tensor]
    state: list[Tensor]
    x: Tensor
    y: Tensor
    masks: list[Tensor]
    numbers: Tensor

    def flat(self) -> list[Tensor]:
        """Return all tensors in one list."""
        return [
            *self.weights,
            *self.buffers,
            *self.fixed,
            *self.state,
            self.x,
            self.y,
            *self.masks,
            self.numbers,
        ]


def stand_in(model: nn.Module) -> tuple[nn.Module, list[str]]:
    """Return a copy of ``model`` whose dropout layers take their masks from outside, and their names."""
    twin = deepcopy(model).train()
    names = [name for name, module in twin.named_modules() if type(module) is nn.Dropout]
    for name in names:
        parent, _dot, own = name.rpartition(".")
        setattr(twin.get_submodule(parent), own, Fed())
    return twin, names


def find_layers(twin: nn.Module, names: list[str], x: Tensor, noise: Noise) -> list[Layer]:
    """Pass a batch through a stand-in, and return its dropout layers in the order they are used.

    Raises
    ------
    CannotCompile
        If a layer is used twice, or the model draws noise by other means.
    """
    layers: list[Layer] = []

    def note(name: str) -> Callable[..., None]:
        return lambda _module, inputs: layers.append(Layer(name, inputs[0].shape))

    hooks = [twin.get_submodule(name).register_forward_pre_hook(note(name)) for name in names]
    trial = deepcopy(twin)  # batch statistics would change
    for hook in hooks:
        hook.remove()
    with torch.no_grad(), noise.seeded(0):
        before = torch.get_rng_state()
        trial(x)
        drawn = not torch.equal(before, torch.get_rng_state())
    if drawn:
        raise CannotCompile(_("the model draws random numbers by means of its own"))
    if len({layer.name for layer in layers}) < len(layers):
        raise CannotCompile(_("the model uses one dropout layer twice"))
    return layers


def make_chunk(twin: nn.Module, loss: Loss, formula: Formula, layers: list[Layer], signature: Signature) -> Chunk:
    """Return the function that is to be compiled.

    Parameters
    ----------
    twin : torch.nn.Module
        From `stand_in`.
    loss : Loss
    formula : Formula
        The optimizer's.
    layers : list of Layer
    signature : Signature
    """
    steps = signature.steps
    weight_names = [name for name, parameter in twin.named_parameters() if parameter.requires_grad]
    fixed_names = [name for name, parameter in twin.named_parameters() if not parameter.requires_grad]
    mask_names = [f"{layer.name}.mask" for layer in layers]
    buffer_names = [name for name, _buffer in twin.named_buffers() if name not in mask_names]
    keys = len(formula.keys)

    def take(flat: list[Tensor]) -> Arguments:
        rest = iter(flat)

        def some(count: int) -> list[Tensor]:
            return list(islice(rest, count))

        own = some(len(weight_names)), some(len(buffer_names)), some(len(fixed_names)), some(keys * len(weight_names))
        return Arguments(*own, next(rest), next(rest), some(len(mask_names)), next(rest))

    def chunk(flat: list[Tensor]) -> Sequence[Tensor]:
        given = take(flat)
        batch = len(given.x) // steps
        fixed = dict(zip(fixed_names, given.fixed, strict=True))
        weights, buffers, state = list(given.weights), list(given.buffers), list(given.state)
        losses, results = [], []
        for k in range(steps):
            inputs, target = given.x[k * batch : (k + 1) * batch], given.y[k * batch : (k + 1) * batch]
            if signature.channels_last:
                inputs = lay_channels_last(inputs)
            fed = fixed | dict(zip(mask_names, [mask[k] for mask in given.masks], strict=True))

            def measure(
                weights: list[Tensor],
                buffers: list[Tensor] = buffers,
                inputs: Tensor = inputs,
                target: Tensor = target,
                fed: dict[str, Tensor] = fed,
            ) -> tuple[Tensor, tuple[Tensor, list[Tensor]]]:
                own = [buffer.clone() for buffer in buffers]  # layers write to their statistics
                named = fed | dict(zip(weight_names + buffer_names, weights + own, strict=True))
                # Not cached: what a weight was cast to is not to outlive its place in the graph.
                with cast_to(signature.precision, inputs.device, cached=False):
                    output = functional_call(twin, named, (inputs,))
                    value = loss(output, loss.prepare(output, target))
                return widen(value), (widen(output), own)

            gradients, (value, (output, buffers)) = grad_and_value(measure, has_aux=True)(weights)
            l1, *row = given.numbers[k].unbind()
            for index, (weight, gradient) in enumerate(zip(weights, gradients, strict=True)):
                if weight.ndim > 1:
                    gradient = gradient + l1 * weight.sign()
                own = slice(index * keys, (index + 1) * keys)
                weights[index], state[own] = formula.rule(weight, gradient, state[own], row)
            losses.append(value)
            results.append(output)
        for before, after in zip(flat, weights + buffers + given.fixed + state, strict=False):
            if before is not after:
                before.copy_(after)
        return [torch.stack(losses), torch.stack(results)] if signature.outputs else [torch.stack(losses)]

    return chunk
