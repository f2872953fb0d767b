"""The compiled step: when it can be, how it is made, and how it is done."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from nbopt.data.noise import Reserved, draw_mask
from nbopt.data.sources import TensorSource
from nbopt.engine.step.chunk import (
    Arguments,
    CannotCompile,
    Chunk,
    Layer,
    compile_chunk,
    find_layers,
    make_chunk,
    stand_in,
)
from nbopt.engine.step.passes import NOISY, call_on_pair
from nbopt.parts.formulas import FORMULAS
from nbopt.words import _

if TYPE_CHECKING:
    from nbopt.engine.training import Training

_CLOSE = {"rtol": 1e-3, "atol": 1e-5}  # compiled against not compiled, after one chunk


class Signature(NamedTuple):
    """What a chunk was compiled for; anything else enters it as a tensor."""

    steps: int
    batch_size: int
    optimizer: type[torch.optim.Optimizer]
    loss: type[Any]
    outputs: bool


class Ready(NamedTuple):
    """A compiled chunk, and the dropout layers whose masks it takes."""

    chunk: Chunk
    layers: list[Layer]


def sign(training: Training, steps: int) -> Signature:
    """Return the signature of a chunk for the run as it is now."""
    optimizer, loss = type(training.torch_optimizer), type(training.loss)
    return Signature(steps, training.cursor.batch_size, optimizer, loss, bool(training.metrics))


def find_obstacle(training: Training) -> str:
    """Return why the run as it is now cannot be compiled; "" if it can."""
    optimizer, source, model = training.torch_optimizer, training.cursor.source, training.model
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    group = optimizer.param_groups[0]
    odd = ("maximize", "dampening", "amsgrad", "differentiable", "capturable")
    hooked = optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks or "step" in vars(optimizer)
    checks: Mapping[str, bool] = {
        _("only steps on the CPU are compiled so far"): training.device.type != "cpu",
        _("the forward function is your own"): training.pass_.forward is not call_on_pair,
        _("the data are not a pair of tensors in memory"): not isinstance(source, TensorSource)
        or not source.resident
        or len(source.columns) != 2,
        _("the loss is your own"): training.loss.draws,
        _("the loss has settings of its own"): training.loss.has_settings,
        _("{name} acts", name=training.acting.not_compiled): bool(training.acting.not_compiled),
        _("batches are split"): bool(training.accumulation.micro_batch),
        _("no formula for this optimizer"): type(optimizer) not in FORMULAS,
        _("the optimizer is set up in an unusual way"): bool(hooked)
        or len(optimizer.param_groups) > 1
        or any(group.get(key) for key in odd)
        or {id(weight) for weight in group["params"]} != {id(weight) for weight in weights},
        _("not all weights are float32"): any(weight.dtype is not torch.float32 for weight in weights),
    }
    found = next((reason for reason, holds in checks.items() if holds), "")
    return found or next(filter(None, map(_obstacle_in, model.modules())), "")


def _obstacle_in(module: nn.Module) -> str:
    name = type(module).__name__
    if module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks:
        return _("hooks on {name}", name=name)
    rate = getattr(module, "dropout", 0.0) if isinstance(module, (nn.MultiheadAttention, nn.RNNBase)) else 0.0
    if isinstance(module, _DropoutNd) and type(module) is not nn.Dropout:
        rate = module.p
    if rate or isinstance(module, NOISY):
        return _("the noise of {name} cannot be fed from outside", name=name)
    return ""


class Workshop:
    """Makes one chunk, in any thread: all that it needs of the run is copied when this is made.

    Parameters
    ----------
    training : Training
        Between two steps.
    steps : int
        How many steps the chunk is to do.

    Raises
    ------
    CannotCompile
        If the model draws noise that cannot be fed to it.
    """

    def __init__(self, training: Training, steps: int) -> None:
        self.signature = sign(training, steps)
        self._twin, names = stand_in(training.model)
        self._loss = copy(training.loss)
        self._formula = FORMULAS[self.signature.optimizer]
        source = training.cursor.source
        assert isinstance(source, TensorSource)
        rows = torch.arange(steps * self.signature.batch_size) % len(source.columns[0])
        self._x, self._y = (column.index_select(0, rows) for column in source.columns)
        self._layers = find_layers(self._twin, names, self._x[: self.signature.batch_size], training.noise)
        group = training.torch_optimizer.param_groups[0]
        self._numbers = [[0.0, *self._formula.numbers(group, 1 + k)] for k in range(steps)]

    def make(self) -> Ready:
        """Make the chunk.

        Raises
        ------
        CannotCompile
            If it cannot be made, or does not compute what it should.
        """
        steps = self.signature.steps
        layers = self._layers
        chunk = make_chunk(self._twin, self._loss, self._formula, layers, steps, self.signature.outputs)
        with Reserved():
            ready = compile_chunk(chunk, self._example(layers))
        expected, got = self._example(layers), self._example(layers)
        with torch.no_grad():
            results = [chunk(*expected)[0], ready(*got)[0]]
        pairs = [results, *zip(expected.weights, got.weights, strict=True)]
        if not all(torch.allclose(one, other, **_CLOSE, equal_nan=True) for one, other in pairs):
            raise CannotCompile(_("compiled, the model computes something else"))
        return Ready(ready, layers)

    def _example(self, layers: list[Layer]) -> Arguments:
        twin = self._twin
        weights = [parameter.detach().clone() for parameter in twin.parameters() if parameter.requires_grad]
        masks = {f"{layer.name}.mask" for layer in layers}
        return Arguments(
            weights,
            [buffer.clone() for name, buffer in twin.named_buffers() if name not in masks],
            [[torch.zeros_like(weight) for _key in self._formula.keys] for weight in weights],
            self._x,
            self._y,
            [torch.ones(self.signature.steps, *layer.shape) for layer in layers],
            torch.tensor(self._numbers),
        )


class Compiled:
    """Does chunks of steps on the run itself.

    Parameters
    ----------
    training : Training
    ready : Ready
    steps : int
    """

    def __init__(self, training: Training, ready: Ready, steps: int) -> None:
        self._training = training
        self._ready = ready
        self._steps = steps
        self._optimizer = training.torch_optimizer
        self._formula = FORMULAS[type(self._optimizer)]
        self._weights = [parameter for parameter in training.model.parameters() if parameter.requires_grad]
        self._buffers = list(training.model.buffers())
        self._layers = [(training.model.get_submodule(layer.name), layer.shape) for layer in ready.layers]
        self._generator = torch.Generator()
        self._state, self._counters = self._gather()
        self._made_from = self._optimizer.state  # loading a state replaces it
        # Updates so far are steps plus this; read once, since reading waits for the device.
        self._ahead = int(self._counters[0]) - training.step if self._counters else 0

    def _gather(self) -> tuple[list[list[Tensor]], list[Tensor]]:
        state, group = self._optimizer.state, self._optimizer.param_groups[0]
        lists: list[list[Tensor]] = []
        for weight in self._weights:
            own = state[weight] if "betas" in group or group.get("momentum") else {}
            for key in self._formula.keys:
                if not isinstance(own.get(key), Tensor):
                    own[key] = torch.zeros_like(weight)  # momentum that begins, or is off and never written to
            lists.append([own[key] for key in self._formula.keys])
        return lists, [state[weight]["step"] for weight in self._weights if "step" in state.get(weight, {})]

    @property
    def fits(self) -> bool:
        """Whether the optimizer's state is still the one this was made for."""
        return self._optimizer is self._training.torch_optimizer and self._made_from is self._optimizer.state

    @torch.no_grad()
    def __call__(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Do the steps on their batches (steps * batch, ...); return losses (steps,) and outputs."""
        training, steps = self._training, self._steps
        group, first = self._optimizer.param_groups[0], training.step + self._ahead + 1
        numbers = [[training.hyperparams["l1"], *self._formula.numbers(group, first + k)] for k in range(steps)]
        losses, outputs = self._ready.chunk(
            [weight.detach() for weight in self._weights],
            self._buffers,
            self._state,
            x,
            y,
            self._draw(),
            torch.tensor(numbers),
        )
        if self._counters:
            torch._foreach_add_(self._counters, steps)
        return losses, outputs

    def _draw(self) -> list[Tensor]:
        """Draw the masks of all steps, each as its layer would in that step."""
        masks = [torch.ones(self._steps, *shape) for _layer, shape in self._layers]
        rates = [float(layer.p) for layer, _shape in self._layers]  # type: ignore[arg-type]
        if any(rates):
            for k in range(self._steps):
                self._generator.manual_seed(self._training.step_seed + self._training.step + k)
                for mask, rate in zip(masks, rates, strict=True):
                    if rate:
                        mask[k] = draw_mask(mask[k].shape, rate, self._generator)
        return masks
