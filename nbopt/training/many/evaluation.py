"""Validation batches of many runs at once: the first run that asks has it done for all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from nbopt.data.samples import count_samples, find_samples
from nbopt.data.tensor_source import TensorSource
from nbopt.training.compile.captured import Shape
from nbopt.training.evaluating import Result
from nbopt.training.many.batches import find_settings, is_pair
from nbopt.training.many.blocks import Ready, shapes_of
from nbopt.training.many.compiled import CompiledSteps
from nbopt.training.many.gradients import Gradients
from nbopt.training.many.judged import JudgeCompiler, first_batch, is_worth_it, key_of
from nbopt.training.many.member import OneOfMany
from nbopt.training.many.stack import Stack
from nbopt.training.training import Training

_GAIN = 0.1  # that compiled validations bring, as a part of what compiled steps do
_SAMPLES = 2**14  # of all runs together that are evaluated at once: what more put out is memory new each time


class Evaluation:
    """Evaluates batches, each for all runs that are to be validated with it now.

    A row counts only for the step that it was found at: a run that went back asks for itself. Where the last steps were
    machine code, and there is some for the batch, each run calls that by itself when it asks.

    Attributes
    ----------
    is_on : bool
        Whether machine code may be used.
    is_awaited : bool
        Whether it is waited for, as it was used before the population was stored.
    """

    def __init__(self) -> None:
        self.is_on, self.is_awaited = True, False
        self._gradients: Gradients | None = None
        self._stack: Stack | None = None
        self._rows: dict[int, int] = {}
        self._versions: dict[int, int] = {}
        self._steps: dict[int, int] = {}
        self._alike = False
        self._code: Ready | None = None
        self._val: Any = None  # whose batches have these shapes
        self._shapes: list[Shape] = []  # of the first; none where it cannot be compiled
        self.forget()

    def use(self, gradients: Gradients, stack: Stack) -> None:
        """Evaluate these runs from now on."""
        self._alike = len({_columns(training) for training in stack.trainings}) == 1
        self._gradients, self._stack = gradients if self._alike else None, stack
        self._rows = {id(training): row for row, training in enumerate(stack.trainings)}
        self._versions = {id(training): training.tiers.version for training in stack.trainings}
        self.forget()

    def stop(self) -> None:
        """Have each run evaluate for itself."""
        self._gradients, self._code, self._alike = None, None, False

    def forget(self) -> None:
        """Take note that weights are others now."""
        self._found: dict[int, tuple[Tensor, Tensor, Tensor, Any, list[int]]] = {}
        self._code = None
        self._cut: dict[int, tuple[Any, bool]] = {}

    def tier(self, compiled: CompiledSteps) -> str:
        """Return how the last steps were done, ``whole`` where the validations that follow are compiled, too."""
        self._code = self._find_code(compiled) if compiled.at_work and self.is_on and self._alike else None
        if self._code is not None and self._stack is not None:
            self._steps = {id(training): training.step for training in self._stack.trainings}
        self.is_awaited = self.is_awaited and not compiled.at_work
        return "whole" if self._code is not None else "compiled" if compiled.at_work else "together"

    def _find_code(self, compiled: CompiledSteps) -> Ready | None:
        """Return machine code for the first batch; have it loaded or compiled, where there is none."""
        stack = self._stack
        assert stack is not None
        first = stack.trainings[0]
        if first.val is not self._val:  # to cut a batch copies many
            self._val, self._shapes = first.val, shapes_of(first_batch(first) or ())
        if not (shapes := self._shapes) or not is_worth_it(first, shapes):
            return None
        key = key_of(first, shapes)
        if (found := compiled.ready(key)) is None:

            def make(only_kept: bool) -> JudgeCompiler:
                return JudgeCompiler(first, key, [*stack.held(first), *(first_batch(first) or ())], only_kept)

            compiled.think(first, key, make, self.is_awaited, _GAIN)
            found = compiled.ready(key)
        return found if found is not None and found.shapes == [*shapes_of(stack.held(first)), *shapes] else None

    def __call__(self, training: OneOfMany, cut: Callable[[], Any], index: int) -> list[Result] | None:
        """Return outputs, targets and loss of a batch; None where the run is to do it by itself.

        Parameters
        ----------
        training : OneOfMany
        cut : callable
            Returns the batch; called once for all runs.
        index : int
            Its number.
        """
        if id(training) not in self._rows or not _is_usual(training):
            return None
        code, stack = self._code, self._stack
        found = None if code is None or stack is None else self._by_code(code, stack, training, cut, index)
        return found or self._at_once(training, cut, index)

    def _by_code(
        self, code: Ready, stack: Stack, training: OneOfMany, cut: Callable[[], Any], index: int
    ) -> list[Result] | None:
        """Evaluate a run by machine code; None where that is for something else."""
        if self._versions[id(training)] != training.tiers.version or self._steps[id(training)] != training.step:
            return None
        if index not in self._cut:
            batch = cut()
            self._cut[index] = batch, is_pair(batch) and shapes_of(batch) == code.shapes[-2:]
        batch, fits = self._cut[index]
        if not fits:
            return None
        with torch.no_grad():
            output, loss = code.chunk([*stack.held(training), *batch])
        return [(output, batch[1], loss, batch)]

    def _at_once(self, training: OneOfMany, cut: Callable[[], Any], index: int) -> list[Result] | None:
        """Return the run's part of what all have; None where it is to evaluate by itself."""
        row, gradients, stack = self._rows[id(training)], self._gradients, self._stack
        if gradients is None or stack is None:
            return None
        if (found := self._found.get(index)) is None:
            due = [one for one in stack.trainings if isinstance(one, OneOfMany) and one.validation_due]
            if 2 * len(due) <= len(stack.trainings) or not all(map(_is_usual, due)) or not is_pair(batch := cut()):
                return None
            try:
                results = self._evaluate(gradients, stack, batch)
            except Exception:  # what has no rule for many, as attention in evaluation
                self._gradients = None
                return None
            found = self._found[index] = *results, batch, [one.step for one in stack.trainings]
        outputs, targets, losses, batch, steps = found
        return [(outputs[row], targets[row], losses[row], batch)] if steps[row] == training.step else None

    def _evaluate(self, gradients: Gradients, stack: Stack, batch: Any) -> tuple[Tensor, Tensor, Tensor]:
        leaf = find_samples(batch)
        samples = 1 if leaf is None else count_samples(batch, leaf)
        size = max(1, _SAMPLES // max(1, samples))
        settings, parts = find_settings(stack.trainings), []
        for first in range(0, len(stack.trainings), size):
            rows = slice(first, first + size)
            held = stack.rows(None)
            weights, fixed, buffers = (
                [tensor[rows] for tensor in tensors] for tensors in (held.weights, held.fixed, held.buffers)
            )
            own = {name: value[rows] if isinstance(value, Tensor) else value for name, value in settings.items()}
            parts.append(gradients.evaluate(weights, fixed, buffers, own, batch))
        outputs, targets, losses = map(torch.cat, zip(*parts, strict=True))
        return outputs, targets, losses


def _is_usual(training: OneOfMany) -> bool:
    acting = training.acting
    others = acting.change_inputs or acting.change_weights or acting.change_activations or acting.change_every_pass
    return not (others or training.most_evaluated)


def _columns(training: Training) -> tuple[int, ...]:
    """Return what tells whether runs are validated with the same samples."""
    val = training.val
    return tuple(map(id, val.columns)) if isinstance(val, TensorSource) and val.sampler is None else (id(training),)
