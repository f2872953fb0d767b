"""Number types: that arrays become what the model computes with."""

from __future__ import annotations

import re
from copy import deepcopy
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from nbopt.data.columns import say_conversion
from nbopt.data.noise import Noise
from nbopt.data.sources import AnySource, TensorSource
from nbopt.data.tree import tensors
from nbopt.parts.classification_losses import ByClass
from nbopt.parts.losses import LOSSES
from nbopt.words import _


def float_type(model: nn.Module) -> torch.dtype:
    """Return what float32 and float64 arrays become: float64 for a model in double precision, else float32."""
    first = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    return torch.float64 if first == torch.float64 else torch.float32


def adapt(source: AnySource | None, model: nn.Module, loss: object) -> None:
    """Convert what was given as arrays where model or loss cannot take it as it is.

    X of whole numbers or booleans becomes floats for a model that fails on it otherwise; images of bytes stay bytes on
    the device, and become floats batch by batch. Labels that are booleans become class indices for nbopt's own losses.
    """
    if not isinstance(source, TensorSource) or not source.adaptable or source.floats is not None:
        return
    x, *others = source.columns
    told = [source.converted] if source.converted else []
    if others and others[-1].dtype == torch.bool and _takes_indices(loss):
        others[-1] = others[-1].long()
        told.append(say_conversion(torch.bool, torch.int64))
    floats = float_type(model)
    if not x.is_floating_point() and not x.is_complex() and _needs_floats(model, x, floats):
        said = say_conversion(x.dtype, floats)
        if x.dtype == torch.uint8:
            source.floats = floats
            said = _("{told} batch by batch", told=said)
        else:
            x = x.to(floats)
        told.append(said)
    source.columns, source.converted = (x, *others), ", ".join(told)


def _takes_indices(loss: object) -> bool:
    return isinstance(loss, str) and loss in LOSSES and issubclass(LOSSES[loss], ByClass)


def _needs_floats(model: nn.Module, x: Tensor, floats: torch.dtype) -> bool:
    """Whether the model fails on the first samples as they are, and takes them as floats.

    A copy of the model that shares its weights is asked, for evaluation: nothing in the model itself changes.
    """
    kept = {id(tensor): tensor for tensor in chain(model.parameters(), model.buffers())}
    device = next(model.parameters()).device
    try:
        twin = deepcopy(model, kept).eval()
    except Exception:  # the user's model may hold what cannot be copied
        return False

    def takes(sample: Tensor) -> bool:
        try:
            with torch.no_grad(), Noise.lock, Noise(device).seeded(0):
                twin(sample)
        except Exception:  # whatever the user's model raises
            return False
        return True

    sample = x[:2].to(device, copy=True)
    return not takes(sample) and takes(sample.to(floats))


def explain_types(error: Exception, batch: Any, model: nn.Module) -> str:
    """Return what to do about an error of torch's that is due to types that differ; "" for any other error."""
    given = {tensor.dtype for tensor in tensors(batch)}
    own = {parameter.dtype for parameter in model.parameters()}
    if given <= own or not re.search("dtype|scalar type|Input type", str(error)):
        return ""
    names = [", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in dtypes)) for dtypes in (given, own)]
    rule = _("convert the samples in the Dataset (x.float()) or the model (model.double())")
    return _(
        "nbopt: the batch holds {given}, the model's weights are {own}: {rule}.",
        given=names[0],
        own=names[1],
        rule=rule,
    )
