"""Several steps as one function of tensors, compiled whole: forward pass, loss, gradients and updates.

Whatever a person may change comes in as a tensor, noise included: dropout masks are drawn outside, from the generator
of each step, as the layers themselves would draw them.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value

from nbopt.data.noise import Noise
from nbopt.parts.formulas import Formula
from nbopt.parts.loss_base import Loss
from nbopt.words import _


class CannotCompile(Exception):
    """Why a step stays eager, in words."""


class Fed(nn.Module):
    """Stands in the place of a dropout layer, and takes its mask from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones(()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Leave out what the mask leaves out."""
        return x * self.mask  # type: ignore[operator]


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
    """What a chunk of k steps takes; weights, buffers and state it writes to.

    Attributes
    ----------
    weights : list of Tensor
    buffers : list of Tensor
    state : list of list of Tensor
        The optimizer's, for each weight.
    x, y : Tensor
        The samples of all k batches, (k * batch, ...).
    masks : list of Tensor
        For each dropout layer, (k, ...).
    numbers : Tensor
        (k, count): the L1 strength, then what the formula takes.
    """

    weights: list[Tensor]
    buffers: list[Tensor]
    state: list[list[Tensor]]
    x: Tensor
    y: Tensor
    masks: list[Tensor]
    numbers: Tensor


Chunk = Callable[..., tuple[Tensor, Tensor]]


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


def make_chunk(
    twin: nn.Module, loss: Loss, formula: Formula, layers: list[Layer], steps: int, outputs: bool
) -> Callable[..., tuple[Tensor, Tensor]]:
    """Return the function that is to be compiled: `Arguments` to losses (k,) and outputs (k, batch, ...).

    Parameters
    ----------
    twin : torch.nn.Module
        From `stand_in`.
    loss : Loss
    formula : Formula
        The optimizer's.
    layers : list of Layer
    steps : int
        k.
    outputs : bool
        Whether outputs are wanted; otherwise none are returned.
    """
    weight_names = [name for name, parameter in twin.named_parameters() if parameter.requires_grad]
    fixed = {name: parameter.detach() for name, parameter in twin.named_parameters() if not parameter.requires_grad}
    mask_names = [f"{layer.name}.mask" for layer in layers]
    buffer_names = [name for name, _buffer in twin.named_buffers() if name not in mask_names]

    def chunk(
        weights: list[Tensor],
        buffers: list[Tensor],
        state: list[list[Tensor]],
        x: Tensor,
        y: Tensor,
        masks: list[Tensor],
        numbers: Tensor,
    ) -> tuple[Tensor, Tensor]:
        batch = len(x) // steps
        now, held, memory = list(weights), list(buffers), [list(tensors) for tensors in state]
        losses, results = [], []
        for k in range(steps):
            inputs, target = x[k * batch : (k + 1) * batch], y[k * batch : (k + 1) * batch]
            fed = dict(zip(mask_names, [mask[k] for mask in masks], strict=True))

            def measure(
                weights: list[Tensor],
                held: list[Tensor] = held,
                inputs: Tensor = inputs,
                target: Tensor = target,
                fed: dict[str, Tensor] = fed,
            ) -> tuple[Tensor, tuple[Tensor, list[Tensor]]]:
                own = [buffer.clone() for buffer in held]  # layers write to their statistics
                named = {
                    **dict(zip(weight_names, weights, strict=True)),
                    **fixed,
                    **dict(zip(buffer_names, own, strict=True)),
                    **fed,
                }
                output = functional_call(twin, named, (inputs,))
                return loss(output, loss.prepare(output, target)), (output, own)

            gradients, (value, (output, held)) = grad_and_value(measure, has_aux=True)(now)
            l1, *row = numbers[k].unbind()
            for index, (weight, gradient) in enumerate(zip(now, gradients, strict=True)):
                if weight.ndim > 1:
                    gradient = gradient + l1 * weight.sign()
                now[index], memory[index] = formula.rule(weight, gradient, memory[index], row)
            losses.append(value)
            results.append(output)
        for before, after in _pairs((weights, now), (buffers, held), *zip(state, memory, strict=True)):
            before.copy_(after)
        return torch.stack(losses), torch.stack(results) if outputs else losses[0].new_empty(0)

    # torch keeps what it compiled with a function's code: each chunk needs code of its own.
    return types.FunctionType(
        chunk.__code__.replace(), chunk.__globals__, "chunk", chunk.__defaults__, chunk.__closure__
    )


def _pairs(*both: tuple[list[Tensor], list[Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
    for before, after in both:
        yield from zip(before, after, strict=True)


def compile_chunk(chunk: Callable[..., Any], example: Arguments) -> Chunk:
    """Compile a chunk for arguments like these.

    Raises
    ------
    CannotCompile
        If there is no compiler, or the model breaks it.
    """
    try:
        compiled: Any = torch.compile(chunk, fullgraph=True, dynamic=False)
        # Ahead of time: arguments that do not fit then raise, and never compile anew in the middle of a step.
        with torch.no_grad():
            ready: Chunk = compiled.aot_compile((tuple(example), {}))
            ready(*example)
        return ready
    except Exception as error:  # whatever a compiler raises
        line = next((line for line in str(error).splitlines() if line.strip()), "")
        raise CannotCompile(_("{kind}: {line}", kind=type(error).__name__, line=line.strip()[:200])) from error
