"""For each hook, the techniques that act now."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nbopt.techniques.base import Technique
from nbopt.techniques.hooks import OwnStep


class WeightChange(NamedTuple):
    """How a technique changes some of the weights, see `Technique.apply_operand`.

    Attributes
    ----------
    do : callable
    settings : tuple
        Its last arguments.
    names : tuple of str
        The weights.
    """

    do: Callable[..., Tensor]
    settings: tuple[Any, ...]
    names: tuple[str, ...]


def change_weights(
    weights: Mapping[str, Tensor], changes: Sequence[WeightChange], operands: Sequence[Tensor]
) -> dict[str, Tensor]:
    """Return weights by name as they are once all changes are done."""
    changed, rest = dict(weights), iter(operands)
    for change in changes:
        for name in change.names:
            changed[name] = change.do(changed[name], next(rest), *change.settings)
    return changed


class HookLists:
    """The hooks of `nbopt.techniques.hooks.HOOKS`, each with the methods to call, in the order of techniques.

    Attributes
    ----------
    operating : tuple of Technique
        Those that change weights one by one, by operands, which the compiled step can do.
    unchecked : tuple of Technique
        Those that are to look at the outputs of the next pass.
    renewing : tuple of Technique
        Those that make something ready before steps.
    masking : tuple of Technique
        Those of them that make no more than such operands, which machine code takes within a call.
    """

    operating: tuple[Technique, ...]
    unchecked: tuple[Technique, ...]
    renewing: tuple[Technique, ...]
    masking: tuple[Technique, ...]

    fit: Sequence[Callable[[Tensor], None]]
    lay_out: Sequence[Callable[[torch.optim.Optimizer], None]]
    replace_step: Sequence[Callable[..., OwnStep | None]]
    before_first_step: Sequence[Callable[[], None]]
    before_step: Sequence[Callable[[], None]]
    draws_now: Sequence[Callable[[], bool]]
    change_inputs: Sequence[Callable[[Tensor], Tensor]]
    change_batch: Sequence[Callable[[Tensor, Any], tuple[Tensor, Any]]]
    change_weights: Sequence[Callable[[dict[str, Tensor]], dict[str, Tensor]]]
    change_activations: Sequence[Callable[[str, Tensor], Tensor]]
    calibrate: Sequence[Callable[[Callable[[], Any]], None]]
    change_pass: Sequence[Callable[..., tuple[Any, Any, Tensor]]]
    change_every_pass: Sequence[Callable[..., tuple[Any, Any, Tensor]]]
    change_loss: Sequence[Callable[..., Tensor]]
    after_gradients: Sequence[Callable[[], None]]
    change_rate: Sequence[Callable[[float, int, float, float], float]]
    change_groups: Sequence[Callable[[Sequence[dict[str, Any]]], None]]
    after_step: Sequence[Callable[[Tensor], None]]
    after_epoch: Sequence[Callable[[float | None], None]]
    propose: Sequence[Callable[[], dict[str, Any]]]
    end_reason: Sequence[Callable[[], str]]
    restores_best: Sequence[Callable[[], bool]]
    reopen: Sequence[Callable[[], bool]]
    losses_change: Sequence[Callable[[str], None]]
    expect_loss: Sequence[Callable[[float, bool], None]]
    largest_part: Sequence[Callable[[], int]]
    need_less: Sequence[Callable[[int], dict[str, Any]]]
    find_trouble: Sequence[Callable[[Sequence[float], bool], int | None]]
    judge: Sequence[Callable[[float, int], bool]]

    def changes(self) -> tuple[WeightChange, ...]:
        """Return how weights are changed where steps are compiled, one technique after the other."""
        return tuple(
            WeightChange(
                type(part).apply_operand,
                tuple(getattr(part, name) for name in part.weight_settings),
                tuple(part.weight_operands),
            )
            for part in self.operating
        )

    def operands(self) -> list[Tensor]:
        """Return by what they are, in the order of `changes`."""
        return [operand for part in self.operating for operand in part.weight_operands.values()]

    def check(self, output: Any, batch: Any) -> None:
        """Let techniques look at outputs; raise what they say."""
        for part in self.unchecked:
            part.check_outputs(output, batch)
        self.unchecked = ()

    def ahead(self, step: int, masks: bool) -> float:
        """Return after how many steps ``before_step`` has something to do again, that of `masking` only if asked."""
        return _ahead([part for part in self.renewing if masks or part not in self.masking], step)

    def masked(self, step: int) -> float:
        """Return how many steps there are before ``before_step`` of `masking` has something to do again."""
        return _ahead(self.masking, step)


def _ahead(parts: Sequence[Technique], step: int) -> float:
    periods = [part.renews_every for part in parts]
    return min([every - step % every for every in periods if every], default=math.inf)
