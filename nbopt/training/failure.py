"""What stops a run from going on as it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nbopt.i18n import _


class Failure(NamedTuple):
    """What has to be put right before the next step.

    Attributes
    ----------
    step : int
        The step it happened in.
    text : str
        What happened.
    memory : bool
        Whether memory ran out; otherwise the loss went wrong.
    less : dict of str to Any
        Where memory ran out, changes of hyperparameters by which a step needs less.
    loss : float
        The loss that went wrong.
    """

    step: int
    text: str
    memory: bool
    less: Mapping[str, Any] = MappingProxyType({})
    loss: float = math.nan


def is_out_of_memory(error: Exception) -> bool:
    """Whether this is torch's way of saying so; the CPU's allocator has no exception of its own."""
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def explain_graph(error: Exception) -> None:
    """Note what torch means by a tensor that does not require a gradient."""
    if "does not require grad" in str(error):
        way = _("something in between was detached (detach, item, numpy, no_grad), or all it uses is frozen")
        error.add_note(_("nbopt: the loss depends on no weight that is trained: {way}.", way=way))


def is_sound(leaves_out: bool, trained: Iterable[Iterable[Tensor]], tell: Callable[[str], None]) -> bool:
    """Whether the weights are numbers though a loss was none, as a plain loop would go on from; tells of it.

    Parameters
    ----------
    leaves_out : bool
        Whether steps do no update where gradients are no numbers.
    trained : iterable of iterable of Tensor
        The weights, group by group.
    tell : callable
    """
    if leaves_out or not all(bool(weight.isfinite().all()) for group in trained for weight in group):
        return False
    tell(
        _(
            "a loss is NaN and its gradient 0: no sample of that batch counts, as when all its labels are -100. The "
            "run goes on, as a plain loop would."
        )
    )
    return True
