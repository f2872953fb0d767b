"""What a script has to know of the model: its layers with dropout, and whether it draws random numbers."""

from __future__ import annotations

from torch import nn
from torch.nn.modules import dropout as dropout_layers

from nbopt.torch_private import DropoutNd

NOISY = (
    *(DropoutNd, nn.RReLU, nn.FractionalMaxPool2d, nn.FractionalMaxPool3d),
    *(nn.MultiheadAttention, nn.RNNBase),
)
ALWAYS_NOISY = (nn.FractionalMaxPool2d, nn.FractionalMaxPool3d)


def may_draw_anywhere(model: nn.Module) -> bool:
    """Whether something in the model may draw random numbers that nbopt knows nothing of."""
    return any(
        not type(module).__module__.startswith("torch.nn.modules.")
        or module._forward_hooks
        or module._forward_pre_hooks
        or "forward" in vars(module)
        for module in model.modules()
    )


def dropout_kinds(model: nn.Module) -> tuple[list[str], list[str]]:
    """Return the layers of the model that have a probability ``p``, and those that have ``dropout``."""
    layers: dict[str, bool] = {}
    attributes: dict[str, bool] = {}
    for module in model.modules():
        if isinstance(module, DropoutNd):
            kinds, found = dropout_layers.__all__, layers
        elif isinstance(module, nn.MultiheadAttention) or (isinstance(module, nn.RNNBase) and module.num_layers > 1):
            kinds, found = ["MultiheadAttention", "RNNBase"], attributes
        else:
            continue
        found.update({name: True for name in kinds if isinstance(module, getattr(nn, name))})
    return list(layers), list(attributes)
