"""For each hook, the techniques that act now."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from nbopt.techniques.base import Technique
from nbopt.techniques.hooks import OwnStep


class HookLists:
    """The hooks of `nbopt.techniques.hooks.HOOKS`, each with the methods to call, in the order of techniques.

    Attributes
    ----------
    factored : list of Technique
        Those that multiply weights.
    unchecked : list of Technique
        Those that are to look at the outputs of the next pass.
    renewing : list of Technique
        Those that make something ready before steps.
    masking : list of Technique
        Those of them that make no more than what they multiply weights by, which machine code takes within a call.
    """

    factored: list[Technique]
    unchecked: list[Technique]
    renewing: list[Technique]
    masking: list[Technique]

    fit: list[Callable[[Tensor], None]]
    lay_out: list[Callable[[torch.optim.Optimizer], None]]
    replace_step: list[Callable[..., OwnStep | None]]
    before_first_step: list[Callable[[], None]]
    before_step: list[Callable[[], None]]
    draws_now: list[Callable[[], bool]]
    change_inputs: list[Callable[[Tensor], Tensor]]
    change_batch: list[Callable[[Tensor, Any], tuple[Tensor, Any]]]
    change_weights: list[Callable[[dict[str, Tensor]], dict[str, Tensor]]]
    change_activations: list[Callable[[str, Tensor], Tensor]]
    calibrate: list[Callable[[Callable[[], Any]], None]]
    change_pass: list[Callable[..., tuple[Any, Any, Tensor]]]
    change_every_pass: list[Callable[..., tuple[Any, Any, Tensor]]]
    change_loss: list[Callable[..., Tensor]]
    after_gradients: list[Callable[[], None]]
    change_rate: list[Callable[[float, int, float, float], float]]
    change_groups: list[Callable[[Sequence[dict[str, Any]]], None]]
    after_step: list[Callable[[Tensor], None]]
    after_epoch: list[Callable[[float | None], None]]
    propose: list[Callable[[], dict[str, Any]]]
    end_reason: list[Callable[[], str]]
    restores_best: list[Callable[[], bool]]
    reopen: list[Callable[[], bool]]
    losses_change: list[Callable[[str], None]]
    expect_loss: list[Callable[[float, bool], None]]
    largest_part: list[Callable[[], int]]
    need_less: list[Callable[[int], dict[str, Any]]]
    find_trouble: list[Callable[[Sequence[float], bool], int | None]]
    judge: list[Callable[[float, int], bool]]

    def factors(self) -> dict[str, Tensor]:
        """Return what weights are multiplied by where steps are compiled, by name."""
        found: dict[str, Tensor] = {}
        for part in self.factored:
            for name, factor in part.weight_factors.items():
                found[name] = found[name] * factor if name in found else factor
        return found

    def check(self, output: Any, batch: Any) -> None:
        """Let techniques look at outputs; raise what they say."""
        for part in self.unchecked:
            part.check_outputs(output, batch)
        self.unchecked = []

    def ahead(self, step: int, masks: bool) -> float:
        """Return after how many steps ``before_step`` has something to do again, that of `masking` only if asked."""
        return _ahead([part for part in self.renewing if masks or part not in self.masking], step)

    def masked(self, step: int) -> float:
        """Return how many steps there are before ``before_step`` of `masking` has something to do again."""
        return _ahead(self.masking, step)


def _ahead(parts: Sequence[Technique], step: int) -> float:
    periods = [part.renews_every for part in parts]
    return min([every - step % every for every in periods if every], default=math.inf)
