"""Several steps as one function of tensors: forward pass, loss, gradients and updates.

Whatever a person may change comes in as a tensor, noise included: dropout masks are drawn outside, from the generator
of each step, as the layers themselves would draw them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from itertools import chain, islice
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value
from torch.nn.functional import dropout

from nbopt.data.noise import Noise
from nbopt.i18n import _
from nbopt.techniques.hooks import surround
from nbopt.techniques.losses.base import Loss
from nbopt.techniques.optimizers.formulas import Formula
from nbopt.training.compile.around import Around, measure, uncached
from nbopt.training.compile.layouts import Apart, Joined, Layout
from nbopt.training.hook_lists import WeightChange, change_weights
from nbopt.training.step.passes import call_on_pair


class CannotCompile(Exception):
    """Why a step stays eager, in words."""


Chunk = Callable[[list[Tensor]], Sequence[Tensor]]
"""Takes `Arguments.flat`, and may empty it; returns losses (k,) and, if they are wanted, outputs (k, batch, ...)."""


class MaskedDropout(nn.Module):
    """Stands in the place of a dropout layer, and takes its mask from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones(()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Leave out what the mask leaves out."""
        return x * self.mask  # type: ignore[operator]


class Signature(NamedTuple):
    """What a chunk is made for; anything else enters it as a tensor.

    Attributes
    ----------
    around : tuple
        What stands around the pass: classes of techniques, each with its values.
    captured : bool
        Whether a GPU's graph is made of it, not machine code.
    resting : tuple of str
        The weights that are not trained.
    evaluated : tuple of str
        The modules that are in evaluation mode.
    edits : tuple of str
        What was made of the model's shape.
    changed : tuple of WeightChange
        How techniques change weights.
    """

    steps: int
    batch_size: int
    optimizer: type[torch.optim.Optimizer]
    loss: type[Any]
    outputs: bool
    threads: int
    around: tuple[Any, ...]
    captured: bool
    resting: tuple[str, ...] = ()
    evaluated: tuple[str, ...] = ()
    edits: tuple[str, ...] = ()
    changed: tuple[WeightChange, ...] = ()


class Layer(NamedTuple):
    """A dropout layer, in the order in which layers draw their noise.

    Attributes
    ----------
    name : str
        The module's.
    ones : Tensor
        Shaped as its input, for the batch size compiled for; also in the same order in memory and of the same type,
        on which depends what is drawn.
    """

    name: str
    ones: Tensor

    def draw(self, rate: float, generator: torch.Generator | None) -> Tensor:
        """Draw a mask as the layer itself would, with dropout ``rate``."""
        if self.ones.device.type != "cpu" or generator is None:
            return dropout(self.ones, rate)
        return torch.empty_like(self.ones).bernoulli_(1 - rate, generator=generator).div_(1 - rate)


class Arguments(NamedTuple):
    """What a chunk of k steps takes; it writes to weights, buffers and state.

    Attributes
    ----------
    weights : list of Tensor
        As `find_trained` has them.
    buffers : list of Tensor
    fixed : list of Tensor
        Parameters that are not trained.
    state : list of Tensor
        The optimizer's: for each of its keys, one tensor a weight.
    x, y : Tensor
        The samples of all k batches, (k * batch, ...).
    masks : list of Tensor
        For each dropout layer, (k, ...), of its input's type.
    operands : list of Tensor
        By what weights are changed.
    numbers : Tensor
        (k * count,): for each step, how signs pull, then what the formula takes.
    """

    weights: list[Tensor]
    buffers: list[Tensor]
    fixed: list[Tensor]
    state: list[Tensor]
    x: Tensor
    y: Tensor
    masks: list[Tensor]
    operands: list[Tensor]
    numbers: Tensor

    def held(self) -> list[Tensor]:
        """Return what stays from call to call."""
        return [*self.weights, *self.buffers, *self.fixed, *self.state]

    def given(self) -> list[Tensor]:
        """Return what is new in every call."""
        return [self.x, self.y, *self.masks, *self.operands, self.numbers]

    def flat(self) -> list[Tensor]:
        """Return all tensors in one list."""
        return self.held() + self.given()


def stand_in(model: nn.Module) -> tuple[nn.Module, list[str]]:
    """Return a copy of ``model`` whose dropout layers take their masks from outside, and their names.

    Those in evaluation mode leave nothing out.
    """
    twin = deepcopy(model)
    names = [name for name, module in twin.named_modules() if type(module) is nn.Dropout and module.training]
    for name in names:
        parent, _dot, own = name.rpartition(".")
        setattr(twin.get_submodule(parent), own, MaskedDropout())
    return twin, names


def find_trained(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Return the weights that are trained, by name; matrices come first, whose signs may pull them."""
    trained = [pair for pair in model.named_parameters() if pair[1].requires_grad]
    return sorted(trained, key=lambda pair: pair[1].ndim < 2)


def find_layers(
    twin: nn.Module,
    names: list[str],
    batch: tuple[Tensor, Tensor],
    noise: Noise,
    around: Around,
    forward: Callable[[nn.Module, Any], tuple[Any, Any]] = call_on_pair,
) -> list[Layer]:
    """Pass a batch through a stand-in, and return its dropout layers in the order they are used.

    Raises
    ------
    CannotCompile
        If a layer is used twice, or the model draws noise by other means.
    """
    layers: list[Layer] = []

    def note(name: str) -> Callable[..., None]:
        return lambda _module, inputs: layers.append(Layer(name, torch.ones_like(inputs[0])))

    hooks = [twin.get_submodule(name).register_forward_pre_hook(note(name)) for name in names]
    trial = deepcopy(twin)  # batch statistics would change
    for hook in hooks:
        hook.remove()
    with torch.no_grad(), noise.lock, noise.seeded(0):
        before = noise.drawn()
        surround(around, lambda batch: (*forward(trial, batch), torch.zeros(())))(batch)
        drawn = not all(map(torch.equal, before, noise.drawn()))
    if drawn:
        raise CannotCompile(_("the model draws random numbers by means of its own"))
    if len({layer.name for layer in layers}) < len(layers):
        raise CannotCompile(_("the model uses one dropout layer twice"))
    return layers


def make_chunk(
    twin: nn.Module, loss: Loss, formula: Formula, layers: list[Layer], signature: Signature, around: Around
) -> Chunk:
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
    around : sequence of callable
        What techniques put around the pass.
    """
    steps = signature.steps
    trained = find_trained(twin)
    weight_names = [name for name, _weight in trained]
    layout: Layout = Joined([weight for _name, weight in trained]) if signature.captured else Apart()
    fixed_names = [name for name, parameter in twin.named_parameters() if not parameter.requires_grad]
    mask_names = [f"{layer.name}.mask" for layer in layers]
    buffer_names = [name for name, _buffer in twin.named_buffers() if name not in mask_names]
    keys, operands = len(formula.keys), sum(len(change.names) for change in signature.changed)

    def take(flat: list[Tensor]) -> Arguments:
        rest = iter(flat)

        def some(count: int) -> list[Tensor]:
            return list(islice(rest, count))

        own = some(len(weight_names)), some(len(buffer_names)), some(len(fixed_names)), some(keys * len(weight_names))
        entered = next(rest), next(rest), some(len(mask_names)), some(operands)
        return Arguments(*own, *entered, next(rest))

    def chunk(flat: list[Tensor]) -> Sequence[Tensor]:
        given = take(flat)
        batch = len(given.x) // steps
        fixed = dict(zip(fixed_names, given.fixed, strict=True))
        count, buffers = len(trained), list(given.buffers)
        weights = layout.join(given.weights)
        states = [layout.join(given.state[key * count : (key + 1) * count]) for key in range(keys)]
        losses, results = [], []
        for k in range(steps):
            inputs, target = given.x[k * batch : (k + 1) * batch], given.y[k * batch : (k + 1) * batch]
            fed = fixed | dict(zip(mask_names, [mask[k] for mask in given.masks], strict=True))

            def find_loss(
                weights: list[Tensor],
                buffers: list[Tensor] = buffers,
                inputs: Tensor = inputs,
                target: Tensor = target,
                fed: dict[str, Tensor] = fed,
            ) -> tuple[Tensor, tuple[Tensor, list[Tensor]]]:
                own = [buffer.clone() for buffer in buffers]  # layers write to their statistics
                named = fed | dict(zip(weight_names + buffer_names, weights + own, strict=True))
                named = change_weights(named, signature.changed, given.operands)

                def do(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
                    return measure(loss, functional_call(twin, named, (batch[0],)), batch[1])

                with uncached():
                    output, _target, value = surround(around, do)((inputs, target))
                return value, (output, own)

            found, (value, (output, buffers)) = grad_and_value(find_loss, has_aux=True)(layout.cut(weights))
            pull, *row = given.numbers.reshape(steps, -1)[k].unbind()
            gradients = layout.penalize(layout.join(found), weights, pull)
            for index, (weight, gradient) in enumerate(zip(weights, gradients, strict=True)):
                own = [state[index] for state in states]
                weights[index], own = formula.rule(weight, gradient, own, row)
                for state, changed in zip(states, own, strict=True):
                    state[index] = changed
            losses.append(value)
            results.append(output)
        written = [*layout.cut(weights), *chain.from_iterable(map(layout.cut, states)), *buffers]
        for before, after in zip([*given.weights, *given.state, *given.buffers], written, strict=True):
            before.copy_(after)
        return [torch.stack(losses), torch.stack(results)] if signature.outputs else [torch.stack(losses)]

    return chunk
