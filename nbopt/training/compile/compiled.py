"""The compiled step: how it is made, and how it is done."""

from __future__ import annotations

import math
import operator
import time
from array import array
from collections.abc import Sequence
from copy import copy
from itertools import product
from typing import Any

import torch
from torch import Tensor

from nbopt.data.tensor_source import TensorSource
from nbopt.i18n import _
from nbopt.techniques.context import Place
from nbopt.techniques.optimizers.formulas import FORMULAS
from nbopt.torch_private import foreach_add_
from nbopt.training.compile.artifact import Artifact, sign
from nbopt.training.compile.build import Build
from nbopt.training.compile.captured import Captured, Shape
from nbopt.training.compile.marks import Marks, find_attributes, name_changed
from nbopt.training.compile.obstacles import find_obstacle
from nbopt.training.compile.plain import agree, do_plainly
from nbopt.training.compile.step import (
    Arguments,
    CannotCompile,
    Chunk,
    find_layers,
    find_trained,
    make_chunk,
    stand_in,
)
from nbopt.training.core import Core
from nbopt.training.rates import RatesAhead

# Compiled against not compiled, after one chunk: the difference, as a share of the whole and of the largest there is.
_CLOSE, _COARSE = (1e-3, 1e-6), (1e-2, 1e-5)  # in 32 bits, in 16
# With these, an optimizer's state and steps are in proportion to the gradients; Adam's own steps are of one size, and
# gradients that are 0 but for rounding, as those of attention's key biases, would lead anywhere.
_PROPORTIONAL = {"eps": 1.0, "momentum": 0.9}
_CODES = {torch.float32: "f", torch.float64: "d"}  # the `array`s that numbers of these types are handed over in


class Compiler:
    """Makes one chunk, in any thread: all that it needs of the run is copied when this is made.

    Parameters
    ----------
    training : Core
        Between two steps.
    steps : int
        How many steps the chunk is to do.

    Raises
    ------
    CannotCompile
        If the model draws noise that cannot be fed to it.
    """

    def __init__(self, training: Core, steps: int) -> None:
        self.signature = sign(training, steps)
        training.material.put_back()
        self._twin, names = stand_in(training.model)
        self._loss = copy(training.loss)
        self._formula = FORMULAS[self.signature.optimizer]
        source = training.cursor.source
        assert isinstance(source, TensorSource)
        rows = torch.arange(steps * self.signature.batch_size, device=training.device) % len(source.columns[0])
        self._x, self._y = source.rows(rows)
        self._around = [copy(part).change_every_pass for part in training.acting.around]  # as they are now
        self._close = _COARSE if training.acting.is_coarse else _CLOSE
        batch = self._x[: self.signature.batch_size], self._y[: self.signature.batch_size]
        self._layers = find_layers(self._twin, names, batch, training.noise, self._around)
        group = training.torch_optimizer.param_groups[0] | _PROPORTIONAL
        self._numbers = [n for k in range(steps) for n in (0.0, *self._formula.numbers(group, 1 + k))]
        self._operands = [operand.clone() for operand in training.acting.operands()]
        for operand in self._operands:  # half of each is 0, as masks may be; a single number stays
            operand.mul_(1 - torch.arange(operand.numel(), device=operand.device).view(operand.shape) % 2)
        self._attributes = find_attributes(training.model)
        self._reads = training.tiers.reads()
        self.build = Build()

    def make(self) -> Artifact:
        """Make the chunk.

        Raises
        ------
        CannotCompile
            If it cannot be made, or does not compute what it should.
        """
        chunk = make_chunk(self._twin, self._loss, self._formula, self._layers, self.signature, self._around)
        example, other = self._example(), self._example()
        got = other.flat()
        shapes = list(map(Shape.of, got))
        made: Chunk
        if self.signature.captured:
            made = Captured(chunk, other.held(), shapes[len(other.held()) :])
        else:
            made = self.build.compile(chunk, got)
        with torch.no_grad():
            results = (
                do_plainly(self._twin, self._loss, self._formula, self._layers, self.signature, self._around, example),
                made([*got]),
            )
        if name := self._reads.watched.find_change():
            raise CannotCompile(_("{name}, which forward reads, changed while steps were compiled", name=name))
        if name := name_changed(self._attributes, find_attributes(self._twin)):
            raise CannotCompile(_("the model changes {name} as it computes", name=name))
        if not agree([*results[0], *example.flat()], [*results[1], *got], *self._close):
            raise CannotCompile(_("compiled, the model computes something else"))
        # A graph belongs to the tensors that it was made on: each run captures the chunk on its own.
        made = chunk if self.signature.captured else made
        return Artifact(made, self._layers, shapes, self._attributes, self._reads)

    def _example(self) -> Arguments:
        twin, steps, device = self._twin, self.signature.steps, self._x.device
        dtype = torch.promote_types(torch.get_default_dtype(), torch.float32)
        weights = [weight.detach().clone() for _name, weight in find_trained(twin)]
        masks = {f"{layer.name}.mask" for layer in self._layers}
        return Arguments(
            weights,
            [buffer.clone() for name, buffer in twin.named_buffers() if name not in masks],
            [parameter.detach() for parameter in twin.parameters() if not parameter.requires_grad],
            [torch.zeros_like(weight) for _key in self._formula.keys for weight in weights],
            self._x,
            self._y,
            [torch.stack([layer.ones] * steps) for layer in self._layers],
            [operand.clone() for operand in self._operands],
            torch.tensor(self._numbers, dtype=dtype, device=device),
        )


class Compiled:
    """Does chunks of steps on the run itself.

    Parameters
    ----------
    training : Core
    ready : Ready
    steps : int

    Raises
    ------
    CannotCompile
        If the model is not what the chunk was made for.

    Attributes
    ----------
    signature : Signature
    step_seconds : float
        How long a step took last, of this thread's own time: what else the machine does is not to make rows shorter.
    """

    step_seconds = math.inf

    def __init__(self, training: Core, ready: Artifact, steps: int) -> None:
        self.signature = sign(training, steps)
        self._training = training
        self._ready = ready
        self._steps = steps
        self._rates = RatesAhead(training)
        self._optimizer = training.torch_optimizer
        self._formula = FORMULAS[type(self._optimizer)]
        parameters = list(training.model.parameters())
        self._weights = [weight for _name, weight in find_trained(training.model)]
        self._named = training.context.named_weights
        self._layers = [(training.model.get_submodule(layer.name), layer) for layer in ready.layers]
        self._fitting: list[Any] = [None]  # operands that are in memory as when compiled
        self._blank = [torch.stack([layer.ones] * steps) for layer in ready.layers]  # masks that leave out nothing
        self._made_from = self._optimizer.state  # loading a state replaces it
        pairs = product(self._formula.keys, self._weights)
        kept = [(self._made_from.get(weight, {}).get(key), weight) for key, weight in pairs]
        # Momentum that begins, or is off and never written to, has no tensors yet.
        self._state = [own if isinstance(own, Tensor) else torch.zeros_like(weight) for own, weight in kept]
        self._counters = [own["step"] for own in map(self._made_from.get, self._weights) if own and "step" in own]
        self.adapt()
        self._own = [*self._weights, *training.model.buffers()]
        self._own += [parameter for parameter in parameters if not parameter.requires_grad]
        self._own += self._state
        self._held = [tensor.detach() for tensor in self._own]
        self._places = list(map(Tensor.data_ptr, self._own))
        self._marks = Marks(training.model, self._optimizer)
        if reason := self.find_change():
            raise CannotCompile(reason)
        given, captured = ready.shapes[len(self._held) :], self.signature.captured
        self._batches, self._dtype = given[:2], given[-1].dtype
        self._chunk = Captured(ready.chunk, self._held, given) if captured else ready.chunk

    def adapt(self) -> bool:
        """Follow a change of the run's settings; return whether that can be done with the tensors held."""
        state, group = self._optimizer.state, self._optimizer.param_groups[0]
        self._rates.forget()
        # Updates so far are steps plus this. Reading it waits for the device; float16 skips updates, but not here.
        self._ahead = int(self._counters[0]) - self._training.step if self._counters else 0
        needed = "betas" in group or bool(group.get("momentum"))
        for (key, weight), held in zip(product(self._formula.keys, self._weights), self._state, strict=True):
            own = state.get(weight, {}).get(key)
            if (isinstance(own, Tensor) and own is not held) or (own is None and needed and self._counters):
                return False
            if own is None and needed:  # momentum begins, or was forgotten by hand
                state[weight][key] = held.zero_()
        return state is self._made_from

    @property
    def fits(self) -> bool:
        """Whether the model, weights, optimizer state and what the code reads are still what this was made for."""
        return (
            self._marks.are_same()
            and not self._reads.watched.find_change()
            and self._optimizer is self._training.torch_optimizer
            and self._made_from is self._optimizer.state
            and self._places == list(map(Tensor.data_ptr, self._own))
        )

    def find_change(self) -> str:
        """Return why the code does not suit the model any more; "" if it does."""
        if list(map(Shape.of, self._held)) != self._ready.shapes[: len(self._held)]:
            return _("the model's tensors have other shapes than those compiled for")
        if name := name_changed(self._ready.attributes, find_attributes(self._training.model)):
            return _("{name} of the model changed after compiling", name=name)
        self._reads = self._training.tiers.reads()  # a copy of the model holds objects of its own
        if name := self._ready.reads.watched.find_difference(self._reads.watched):
            return _("{name}, which forward reads, changed after compiling", name=name)
        return find_obstacle(self._training)

    def __call__(self, batches: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, list[Tensor]]:
        """Do a chunk on each pair (steps * batch, ...); return losses (all steps,) and, if wanted, each one's outputs.

        Without `torch.no_grad`, which a captured chunk has of its own, and machine code too.
        """
        held, acting, count = self._held, self._training.acting, len(batches) * self._steps
        operands, until = self._find_operands(), acting.masked(self._training.step)
        began = time.thread_time()
        numbers = self._find_numbers(count)
        losses, outputs = [], []
        for k, ((x, y), own) in enumerate(zip(batches, numbers.view(len(batches), -1).unbind(), strict=True)):
            assert [(x.shape, x.stride(), x.dtype), (y.shape, y.stride(), y.dtype)] == self._batches
            if k * self._steps >= until:
                operands, until = self._find_masks(k * self._steps)
            loss, *output = self._chunk([*held, x, y, *self._draw(k * self._steps), *operands, own])
            losses.append(loss)
            outputs += output
        if self._counters:
            foreach_add_(self._counters, count)
        self.step_seconds = (time.thread_time() - began) / count
        return torch.cat(losses) if len(losses) > 1 else losses[0], outputs

    def _find_operands(self) -> list[Tensor]:
        """Return by what weights are changed, in memory as it was when compiled: machine code does not look."""
        operands = self._training.acting.operands()
        if all(map(operator.is_, operands, self._fitting)):
            return operands
        shapes = self._ready.shapes[-1 - len(operands) : -1]
        if list(map(Shape.of, operands)) != shapes:
            return [shape.zeros(one.device).copy_(one) for one, shape in zip(operands, shapes, strict=True)]
        self._fitting = operands
        return operands

    def _find_masks(self, done: int) -> tuple[list[Tensor], float]:
        """Return by what weights are changed after so many steps of a call, and how many are done before others."""
        training, acting, step = self._training, self._training.acting, self._training.step + done

        def find_share() -> float:
            return training.plan.share(step, training.cursor.progress_ahead(done + 1)[done])

        training.context.place = Place(step, find_share, self._named)
        try:
            for part in acting.masking:
                part.before_step()
            return self._find_operands(), done + acting.masked(step)
        finally:
            training.context.place = None

    def _find_numbers(self, count: int) -> Tensor:
        """Return what each of the next steps takes as numbers: its own learning rate, where something changes that."""
        training, group, numbers = self._training, self._optimizer.param_groups[0], self._formula.numbers
        first, pull, found = training.step + self._ahead + 1, training.acting.sign_pull, []
        rates = self._rates.take(count) if training.acting.change_rate else [group["lr"]] * count
        for k, rate in enumerate(rates, first):
            group["lr"] = rate  # there is one group
            found += [pull, *numbers(group, k)]
        return torch.frombuffer(
            array(_CODES[self._dtype], found), dtype=self._dtype
        )  # a third of `torch.tensor`'s time

    def _draw(self, first: int) -> list[Tensor]:
        """Draw the masks of a chunk that begins ``first`` steps on, each as its layer would in that step."""
        if not any(rates := [float(module.p) for module, _layer in self._layers]):  # type: ignore[arg-type]
            return self._blank
        masks, training = [blank.clone() for blank in self._blank], self._training
        for k in range(self._steps):
            with training.noise.lock, training.noise.seeded(training.step_seed + training.step + first + k):
                for mask, rate, (_module, layer) in zip(masks, rates, self._layers, strict=True):
                    if rate:
                        mask[k] = layer.draw(rate, training.noise.generator)
        return masks
