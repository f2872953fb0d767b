"""For each hook, the techniques that act now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from nbopt.techniques.hooks import OwnStep


class HookLists:
    """The hooks of `nbopt.techniques.hooks.HOOKS`, each with the methods to call, in the order of techniques."""

    fit: list[Callable[[Tensor], None]]
    lay_out: list[Callable[[torch.optim.Optimizer], None]]
    replace_step: list[Callable[..., OwnStep | None]]
    before_first_step: list[Callable[[], None]]
    draws_now: list[Callable[[], bool]]
    change_inputs: list[Callable[[Tensor], Tensor]]
    change_batch: list[Callable[[Tensor, Any], tuple[Tensor, Any]]]
    change_weights: list[Callable[[dict[str, Tensor]], dict[str, Tensor]]]
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
