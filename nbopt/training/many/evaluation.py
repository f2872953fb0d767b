"""Validation batches of many runs at once: the first run that asks has it done for all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from nbopt.data.samples import count_samples, find_samples
from nbopt.data.tensor_source import TensorSource
from nbopt.training.evaluating import Result
from nbopt.training.many.batches import find_settings, is_pair
from nbopt.training.many.gradients import Gradients
from nbopt.training.many.member import OneOfMany
from nbopt.training.many.stack import Stack
from nbopt.training.training import Training

_SAMPLES = 2**14  # of all runs together that are evaluated at once: what more put out is memory new each time


class Evaluation:
    """Evaluates batches, each for all runs that are to be validated with it now.

    A row counts only for the step that it was found at: a run that went back asks for itself.
    """

    def __init__(self) -> None:
        self._gradients: Gradients | None = None
        self._stack: Stack | None = None
        self._rows: dict[int, int] = {}
        self.forget()

    def use(self, gradients: Gradients, stack: Stack) -> None:
        """Evaluate these runs from now on."""
        alike = len({_columns(training) for training in stack.trainings}) == 1
        self._gradients, self._stack = gradients if alike else None, stack
        self._rows = {id(training): row for row, training in enumerate(stack.trainings)}
        self.forget()

    def stop(self) -> None:
        """Have each run evaluate for itself."""
        self._gradients = None

    def forget(self) -> None:
        """Take note that weights are others now."""
        self._found: dict[int, tuple[Tensor, Tensor, Tensor, Any, list[int]]] = {}

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
        row, gradients, stack = self._rows.get(id(training)), self._gradients, self._stack
        if row is None or gradients is None or stack is None or not _is_usual(training):
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
