"""Whether a loss of the user's own compares each output with its own target, or with those of all samples."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from nbopt.data.noise import Noise
from nbopt.i18n import _
from nbopt.techniques.losses.base import describe


def differ_by_an_axis(output: Any, target: Any) -> bool:
    """Whether one has an axis of length 1 that the other has not, so that they broadcast: (n, 1) and (n,)."""
    if not isinstance(output, Tensor) or not isinstance(target, Tensor) or output.ndim == target.ndim:
        return False
    sizes = [[size for size in tensor.shape if size != 1] for tensor in (output, target)]
    return sizes[0] == sizes[1] != []


@torch.no_grad()
def check_pairs(name: str, loss: Callable[[Any, Any], Any], output: Tensor, target: Tensor) -> None:
    """Raise ValueError if ``loss`` compares all outputs with all targets, because their shapes broadcast.

    It then does not matter which target belongs to which output: with the targets in another order, the loss is the
    same. In the same shape it would not be. A loss that reshapes them itself passes.
    """
    if len(target) < 2 or target.shape[0] != output.shape[0]:
        return
    turned = target.roll(1, 0)
    noise = Noise(output.device, loss)
    values = []
    for each in (target, turned, target.reshape(output.shape), turned.reshape(output.shape)):
        try:
            with noise.lock, noise.seeded(0), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch's, of just that
                value = loss(output, each)
        except Exception:  # it takes one of the two shapes only
            return
        if not isinstance(value, Tensor) or value.numel() != 1:
            return
        values.append(value.reshape(()).double())
    given, given_turned, same, same_turned = values
    if _is_close(given, given_turned) and not _is_close(same, same_turned):
        shapes = _("outputs {output} and targets {target}", output=describe(output), target=describe(target))
        rule = _("broadcast, so that each output is compared with the targets of all samples")
        way = _("give targets in the shape of the outputs (y[:, None]), or outputs in theirs (squeeze(1))")
        raise ValueError(f"{name}: {shapes} {rule}: {way}.")


def _is_close(a: Tensor, b: Tensor) -> bool:
    return bool((a - b).abs() <= 1e-5 * torch.maximum(a.abs(), b.abs()))
