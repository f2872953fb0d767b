"""What a loss of the user's own does with outputs and labels, told by its gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Lose = Callable[[Tensor, Any], Tensor]


def sums_to_zero(lose: Lose, output: Tensor, target: Tensor) -> bool | None:
    """Whether a loss has its classes in the last dimension; None if its gradient does not tell.

    Where one adds the same to the scores of all classes, a loss that compares classes stays the same: along them, and
    only along them, its gradient sums to zero.
    """
    slope = _slope(lose, output, target)
    if slope is None:
        return None
    first, last = (float(slope.double().sum(axis).abs().max()) for axis in (1, -1))
    return None if max(first, last) < 10 * min(first, last) else last < first


def ignored_label(lose: Lose, output: Tensor, target: Tensor, axis: int) -> int | None:
    """Return the label that a loss leaves out; None if it leaves out none of these, or several.

    Wherever that label stands, the loss has no slope, whatever the scores: those of the model, or all 0.

    Parameters
    ----------
    lose : callable
    output : Tensor
        Scores, with classes in dimension ``axis``.
    target : Tensor
        Class indices, of the other dimensions.
    """
    counts = torch.zeros_like(target, dtype=torch.bool)
    for scores in (output, torch.zeros_like(output)):
        slope = _slope(lose, scores, target)
        if slope is None:
            return None
        counts |= (slope.isfinite() & (slope != 0)).any(axis)
    left_out, counted = (set(target[where].tolist()) for where in (~counts, counts))
    found = left_out - counted
    return int(found.pop()) if counted and len(found) == 1 else None


def aims_at_targets(lose: Lose, output: Tensor, target: Tensor) -> bool:
    """Whether a loss has outputs become the targets themselves, as a squared error does: it is flat there."""
    met = target.to(output.dtype).reshape(output.shape)
    try:
        flat, steep = _slope(lose, met, target), _slope(lose, met + 1, target)
    except Exception:  # whatever a loss of the user's raises for other outputs than its model's
        return False
    return flat is not None and steep is not None and not flat.any() and bool(steep.any())


def _slope(lose: Lose, output: Tensor, target: Tensor) -> Tensor | None:
    with torch.enable_grad():
        scores = output.detach().clone().requires_grad_()
        loss = lose(scores, target)
        return torch.autograd.grad(loss, scores, allow_unused=True)[0] if loss.requires_grad else None
