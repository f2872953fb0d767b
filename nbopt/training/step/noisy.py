"""Which modules may draw random numbers in a pass."""

from __future__ import annotations

from torch import nn

from nbopt.torch_private import DropoutNd

NOISY = (nn.RReLU, nn.FractionalMaxPool2d, nn.FractionalMaxPool3d)


def is_silent(module: nn.Module) -> bool:
    """Whether a module is one of torch's that draw no random numbers, dropout apart; any other one might."""
    own = type(module).__module__.startswith(("torch.nn.modules.", "nbopt.edits.modules"))
    hooked = module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or "forward" in vars(module)
    return own and not hooked and (isinstance(module, DropoutNd) or not isinstance(module, NOISY))
