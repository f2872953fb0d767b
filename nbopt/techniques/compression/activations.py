"""What layers get in the place of their inputs.

Scripts hold this as it is written here, so in lines of 88 characters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from nbopt.techniques.compression.layers import find_layers


def call_changed(
    changes: Sequence[Callable[[str, Tensor], Tensor]],
    function: Callable[..., Any],
    model: nn.Module,
    batch: Any,
) -> Any:
    """Return ``function(model, batch)``, layers with matrices getting other inputs."""
    laid = []
    for name in find_layers(model):
        hook = partial(make_inputs, changes, name)
        laid.append(model.get_submodule(name).register_forward_pre_hook(hook))
    try:
        return function(model, batch)
    finally:
        for each in laid:
            each.remove()


def make_inputs(
    changes: Sequence[Callable[[str, Tensor], Tensor]],
    layer: str,
    _module: nn.Module,
    inputs: Any,
) -> Any:
    """Return what a layer gets in the place of ``inputs``."""
    made = list(inputs)
    for place, x in enumerate(made):
        if isinstance(x, Tensor) and x.is_floating_point():
            for change in changes:
                made[place] = change(layer, made[place])
    return tuple(made)
