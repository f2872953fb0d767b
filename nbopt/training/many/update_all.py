"""From the gradients of many runs to their next weights: what techniques make of gradients, and optimizers of these."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nbopt.techniques.base import Technique
from nbopt.techniques.optimizers.groups import is_altered
from nbopt.techniques.optimizers.many import UPDATES
from nbopt.training.many.gradients import Passed
from nbopt.training.many.member import OneOfMany
from nbopt.training.many.stack import Rows, Stack
from nbopt.training.rates import set_rate

_ODD = ("maximize", "dampening", "amsgrad", "differentiable", "capturable")
_EXACT = (torch.float32, torch.float64)  # in fewer bits 0.999 is 1, and torch takes complex numbers as pairs


class UpdateAll:
    """Updates all runs at once; what has no way of doing that acts on the rows of each run as it does on a single one.

    Parameters
    ----------
    stack : Stack
    trainings : sequence of OneOfMany
        Its runs.
    """

    def __init__(self, stack: Stack, trainings: Sequence[OneOfMany]) -> None:
        self._stack = stack
        kind = type(trainings[0].torch_optimizer)
        self._update = UPDATES.get(kind) if all(one.find(_is_plain) for one in trainings) else None
        hooks: list[Any] = [hook for training in trainings for hook in training.acting.after_gradients]
        # In the order in which they act.
        order = [type(part) for part in trainings[0].acting.parts]
        kinds = {type(hook.__self__) for hook in hooks}
        self._kinds: list[type[Technique]] = sorted(kinds, key=lambda kind: order.index(kind) if kind in order else -1)

    def __call__(
        self, trainings: Sequence[OneOfMany], rows: Sequence[int], held: Rows, passed: Passed, rates: Any
    ) -> None:
        """Update these runs.

        Parameters
        ----------
        trainings : sequence of OneOfMany
        rows : sequence of int
            Their places in the stack.
        held : Rows
            Their tensors.
        passed : Passed
        rates : ndarray or None
            Their learning rates, (runs,); None where these depend on the gradients.
        """
        gradients = _apart(passed.gradients)
        for kind in self._kinds:
            self._change(kind, trainings, held, gradients)
        if rates is None:
            for training in trainings:
                set_rate(training)
            rates = np.array([training.torch_optimizer.param_groups[0].get("lr", 0.0) for training in trainings])
        if (known := self._update) is None:
            self._stack.give(trainings, gradients)
            for training in trainings:
                training.stepper.update()
            held.are_ahead = False  # the rows themselves are
            return
        groups = [training.torch_optimizer.param_groups[0] for training in trainings]
        self._remember(rows, groups)
        if not known.counts:
            known.update(held.weights, gradients, held.state, groups, rates, np.zeros(len(rows)))
            return
        counts = held.counts.add_(1).numpy(force=True).astype(np.float64)
        for places in _counted_alike(counts):
            parts = held.weights, gradients, *held.state
            weights, taken, *state = ([part[place] for place in places] for part in parts)
            known.update(weights, taken, state, groups, rates, counts[:, places[0]])

    def _remember(self, rows: Sequence[int], groups: Sequence[dict[str, Any]]) -> None:
        assert self._update is not None
        remembers = self._update.remembers
        self._stack.remember([row for row, group in zip(rows, groups, strict=True) if remembers(group)])

    def count(self, trainings: Sequence[OneOfMany], steps: int) -> None:
        """Take note of updates that were done otherwise."""
        assert self._update is not None
        self._remember(range(len(trainings)), [training.torch_optimizer.param_groups[0] for training in trainings])
        if self._update.counts:
            self._stack.rows(None).counts.add_(steps)

    def _change(
        self, kind: type[Technique], trainings: Sequence[OneOfMany], held: Rows, gradients: list[Tensor]
    ) -> None:
        """Have a technique change the gradients."""
        parts = [_part_of(training, kind) for training in trainings]
        if kind.gradients_of_many is not None:
            values = {
                name: torch.tensor([float(getattr(part, name)) if part is not None else 0.0 for part in parts])
                for name in kind.declared()
            }
            device = gradients[0].device
            kind.gradients_of_many(held.weights, gradients, {name: value.to(device) for name, value in values.items()})
            return
        self._stack.give(trainings, gradients)
        for part in parts:
            if part is not None:
                part.after_gradients()
        self._stack.find(trainings, gradients)


def _counted_alike(counts: NDArray[np.float64]) -> Iterable[Sequence[int]]:
    """Return the places of weights, together where updates done, (runs, weights), are as many.

    Those of a weight that was thawed, or that an edit put in, are fewer.
    """
    if (counts == counts[:, :1]).all():
        return [range(counts.shape[1])]
    found: dict[bytes, list[int]] = {}
    for place, column in enumerate(counts.T):
        found.setdefault(column.tobytes(), []).append(place)
    return found.values()


def _part_of(training: OneOfMany, kind: type[Technique]) -> Technique | None:
    hooks: Sequence[Any] = training.acting.after_gradients
    found = (hook.__self__ for hook in hooks)
    return next((part for part in found if type(part) is kind), None)


def _apart(gradients: Sequence[Tensor]) -> list[Tensor]:
    """Return gradients that can be written to, each by itself: those of a sum's terms are one tensor."""
    apart, known = [], set()
    for gradient in gradients:
        place = gradient.untyped_storage().data_ptr()
        repeats = any(step == 0 and size > 1 for size, step in zip(gradient.shape, gradient.stride(), strict=True))
        apart.append(gradient.clone(memory_format=torch.contiguous_format) if repeats or place in known else gradient)
        known.add(place)
    return apart


def _is_plain(training: OneOfMany) -> bool:
    """Whether an optimizer does what the formulas do, for all weights alike."""
    optimizer = training.torch_optimizer
    group = optimizer.param_groups[0]
    held = {id(weight) for weight in group["params"] if weight.requires_grad}
    odd = any(group.get(key) for key in _ODD) or isinstance(group.get("lr"), Tensor)
    odd = odd or any(weight.dtype not in _EXACT for weight in training.find_trained())
    alone = len(optimizer.param_groups) == 1 and held == {id(weight) for weight in training.find_trained()}
    return alone and not (is_altered(optimizer) or odd or training.acting.change_groups)
