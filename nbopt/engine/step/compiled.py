"""The compiled step: when it can be, how it is made, and how it is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from nbopt.data.noise import draw_mask
from nbopt.data.tensor_source import TensorSource
from nbopt.engine.step.build import Build
from nbopt.engine.step.chunk import (
    Arguments,
    CannotCompile,
    Chunk,
    Fed,
    Layer,
    Signature,
    find_layers,
    make_chunk,
    stand_in,
)
from nbopt.engine.step.passes import NOISY, call_on_pair
from nbopt.parts.formulas import FORMULAS
from nbopt.words import _

if TYPE_CHECKING:
    from nbopt.engine.training import Training

# Compiled against not compiled, after one chunk: the difference, as a share of the whole and of the largest there is.
_CLOSE = {"float32": (1e-3, 1e-6), "bfloat16": (1e-2, 1e-5)}
# With these, an optimizer's state and steps are in proportion to the gradients; Adam's own steps are of one size, and
# gradients that are 0 but for rounding, as those of attention's key biases, would lead anywhere.
_PROPORTIONAL = {"eps": 1.0, "momentum": 0.9}


class Ready(NamedTuple):
    """A compiled chunk.

    Attributes
    ----------
    chunk : callable
    layers : list of Layer
        The dropout layers whose masks it takes.
    shapes : list of tuple
        Shape, strides and dtype of all that it takes; machine code does not look whether they are right.
    attributes : list of tuple
        The model's settings that went into the code, see `find_attributes`.
    """

    chunk: Chunk
    layers: list[Layer]
    shapes: list[Shape]
    attributes: list[Attribute]


Shape = tuple[torch.Size, tuple[int, ...], torch.dtype]
Attribute = tuple[str, str, Any]


def sign(training: Training, steps: int) -> Signature:
    """Return the signature of a chunk for the run as it is now."""
    optimizer, loss = type(training.torch_optimizer), type(training.loss)
    threads = torch.get_num_threads()
    values = training.hyperparams
    order = values["precision"], values["channels_last"]
    return Signature(steps, training.cursor.batch_size, optimizer, loss, bool(training.metrics), threads, *order)


def find_attributes(model: nn.Module) -> list[Attribute]:
    """Return numbers, flags and words that a model's modules hold: module, name, value."""
    return [
        (name, key, value)
        for name, module in model.named_modules()
        if type(module) not in (nn.Dropout, Fed)
        for key, value in vars(module).items()
        if key != "training" and isinstance(value, (bool, int, float, str, type(None)))
    ]


def _shape(tensor: Tensor) -> Shape:
    return tensor.shape, tensor.stride(), tensor.dtype


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
        _("float16 scales the loss"): training.precision.scales,
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
        group = training.torch_optimizer.param_groups[0] | _PROPORTIONAL
        self._numbers = [[0.0, *self._formula.numbers(group, 1 + k)] for k in range(steps)]
        self._attributes = find_attributes(training.model)
        self.build = Build()

    def make(self) -> Ready:
        """Make the chunk.

        Raises
        ------
        CannotCompile
            If it cannot be made, or does not compute what it should.
        """
        chunk = make_chunk(self._twin, self._loss, self._formula, self._layers, self.signature)
        expected, got = self._example(), self._example()
        ready = self.build.compile(chunk, got)
        with torch.no_grad():
            results = [*chunk(expected)], [*ready([*got])]
        if changed := set(self._attributes).symmetric_difference(find_attributes(self._twin)):
            raise CannotCompile(_("the model changes {name} as it computes", name=min(changed)[1]))
        if not _agree(results[0] + expected, results[1] + got, *_CLOSE[self.signature.precision]):
            raise CannotCompile(_("compiled, the model computes something else"))
        return Ready(ready, self._layers, list(map(_shape, got)), self._attributes)

    def _example(self) -> list[Tensor]:
        twin = self._twin
        weights = [parameter.detach().clone() for parameter in twin.parameters() if parameter.requires_grad]
        masks = {f"{layer.name}.mask" for layer in self._layers}
        return Arguments(
            weights,
            [buffer.clone() for name, buffer in twin.named_buffers() if name not in masks],
            [parameter.detach() for parameter in twin.parameters() if not parameter.requires_grad],
            [torch.zeros_like(weight) for weight in weights for _key in self._formula.keys],
            self._x,
            self._y,
            [torch.ones(self.signature.steps, *layer.shape) for layer in self._layers],
            torch.tensor(self._numbers),
        ).flat()


def _agree(expected: list[Tensor], got: list[Tensor], share: float, of_largest: float) -> bool:
    """Whether results and all that was written to are the same, but for rounding."""
    pairs = [(one.double(), other.double()) for one, other in zip(expected, got, strict=True)]
    floor = of_largest * max(float(one.norm()) for one, _other in pairs)
    return all(
        torch.equal(one.isfinite(), other.isfinite())
        and float((one - other).nan_to_num(0, 0, 0).norm()) <= share * float(one.nan_to_num(0, 0, 0).norm()) + floor
        for one, other in pairs
    )


class Compiled:
    """Does chunks of steps on the run itself.

    Parameters
    ----------
    training : Training
    ready : Ready
    steps : int

    Raises
    ------
    CannotCompile
        If the model is not what the chunk was made for.
    """

    def __init__(self, training: Training, ready: Ready, steps: int) -> None:
        self._training = training
        self._ready = ready
        self._steps = steps
        self._optimizer = training.torch_optimizer
        self._formula = FORMULAS[type(self._optimizer)]
        parameters = list(training.model.parameters())
        self._weights = [parameter for parameter in parameters if parameter.requires_grad]
        self._layers = [(training.model.get_submodule(layer.name), layer.shape) for layer in ready.layers]
        self._generator = torch.Generator()
        state, self._counters = self._gather()
        self._own = [*self._weights, *training.model.buffers()]
        self._own += [parameter for parameter in parameters if not parameter.requires_grad]
        self._own += state
        self._held = [tensor.detach() for tensor in self._own]
        self._places = [tensor.data_ptr() for tensor in self._own]
        if reason := self.find_change():
            raise CannotCompile(reason)
        self._made_from = self._optimizer.state  # loading a state replaces it
        # Updates so far are steps plus this; read once, since reading waits for the device.
        self._ahead = int(self._counters[0]) - training.step if self._counters else 0

    def _gather(self) -> tuple[list[Tensor], list[Tensor]]:
        state, group = self._optimizer.state, self._optimizer.param_groups[0]
        tensors: list[Tensor] = []
        for weight in self._weights:
            own = state[weight] if "betas" in group or group.get("momentum") else {}
            for key in self._formula.keys:
                if not isinstance(own.get(key), Tensor):
                    own[key] = torch.zeros_like(weight)  # momentum that begins, or is off and never written to
                tensors.append(own[key])
        return tensors, [state[weight]["step"] for weight in self._weights if "step" in state.get(weight, {})]

    @property
    def fits(self) -> bool:
        """Whether weights and optimizer state are still the tensors this was made for."""
        return (
            self._optimizer is self._training.torch_optimizer
            and self._made_from is self._optimizer.state
            and self._places == [tensor.data_ptr() for tensor in self._own]
        )

    def find_change(self) -> str:
        """Return why the code does not suit the model any more; "" if it does."""
        if list(map(_shape, self._held)) != self._ready.shapes[: len(self._held)]:
            return _("the model's tensors have other shapes than those compiled for")
        if changed := set(self._ready.attributes).symmetric_difference(find_attributes(self._training.model)):
            return _("{name} of the model changed after compiling", name=min(changed)[1])
        return ""

    @torch.no_grad()
    def __call__(self, x: Tensor, y: Tensor) -> Sequence[Tensor]:
        """Do the steps on their batches (steps * batch, ...); return losses (steps,) and, if wanted, outputs."""
        training, steps, own = self._training, self._steps, len(self._held)
        group, first = self._optimizer.param_groups[0], training.step + self._ahead + 1
        numbers = [[training.hyperparams["l1"], *self._formula.numbers(group, first + k)] for k in range(steps)]
        assert [_shape(x), _shape(y)] == self._ready.shapes[own : own + 2]
        results = self._ready.chunk([*self._held, x, y, *self._draw(), torch.tensor(numbers)])
        if self._counters:
            torch._foreach_add_(self._counters, steps)
        return results

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
