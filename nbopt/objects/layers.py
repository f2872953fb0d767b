"""Layers of torch that draw random numbers: those that leave units out, where each has the probability, and others."""

from __future__ import annotations

from torch import nn

from nbopt.torch_private import DropoutNd

NOISY = (nn.RReLU, nn.FractionalMaxPool2d, nn.FractionalMaxPool3d)


def probability_of(module: nn.Module) -> str:
    """Return the attribute that holds a layer's probability of leaving a unit out; "" if it never does."""
    if isinstance(module, DropoutNd):
        return "p"
    recurrent = isinstance(module, nn.RNNBase) and module.num_layers > 1
    return "dropout" if recurrent or isinstance(module, nn.MultiheadAttention) else ""


def leaves_out(module: nn.Module) -> bool:
    """Whether a layer leaves units out, while it trains."""
    name = probability_of(module)
    return bool(name and getattr(module, name))


def is_silent(module: nn.Module) -> bool:
    """Whether a module is one of torch's that draw no random numbers, dropout apart; any other one might."""
    own = type(module).__module__.startswith(("torch.nn.modules.", "nbopt.edits.modules"))
    hooked = module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or "forward" in vars(module)
    return own and not hooked and (isinstance(module, DropoutNd) or not isinstance(module, NOISY))
