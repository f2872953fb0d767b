"""Weights that are computed from other tensors, as by weight normalization: what compression would act on is none."""

from __future__ import annotations

from torch import nn
from torch.nn.utils.parametrize import is_parametrized
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from nbopt.i18n import _


def tell_computed(model: nn.Module) -> str:
    """Return which layer's weight is computed from others, in words; "" if none is.

    Examples
    --------
    >>> tell_computed(torch.nn.Linear(4, 3))
    ''
    >>> tell_computed(torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(4, 3)))[:39]
    "the model's weight is computed by _Weig"
    """
    for name, module in model.named_modules():
        by = _find_maker(module)
        if by:
            layer = _("weight of {name}", name=name) if name else _("model's weight")
            how = "torch.nn.utils.parametrize.remove_parametrizations" if is_parametrized(module) else f"remove_{by[1]}"
            told = _("the {layer} is computed by {maker} from other tensors", layer=layer, maker=by[0])
            return _("{told}, and those would be made small in its place: call {how} first", told=told, how=how)
    return ""


def _find_maker(module: nn.Module) -> tuple[str, str] | None:
    """Return the class that computes a weight of a module, and the end of the name of what takes it away."""
    if is_parametrized(module):
        steps = [type(step).__name__ for each in module.parametrizations.values() for step in each]  # type: ignore[operator]
        return ", ".join(steps), ""
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, WeightNorm):
            return "weight_norm", "weight_norm"
        if isinstance(hook, SpectralNorm):
            return "spectral_norm", "spectral_norm"
    return None
