"""Number types: that arrays become what the model computes with."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from nbopt.data.columns import say_conversion
from nbopt.data.noise import Noise
from nbopt.data.sources import AnySource, TensorSource
from nbopt.data.tree import tensors
from nbopt.i18n import _
from nbopt.techniques.losses.by_output import loss_at
from nbopt.techniques.losses.choice import LOSSES
from nbopt.techniques.losses.traits import read_traits


def float_type(model: nn.Module) -> torch.dtype:
    """Return what float32 and float64 arrays become: float64 for a model in double precision, else float32."""
    first = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    return torch.float64 if first == torch.float64 else torch.float32


def adapt(source: AnySource | None, model: nn.Module, loss: object) -> None:
    """Convert what was given as arrays where model or loss cannot take it as it is.

    X of whole numbers or booleans becomes floats for a model that fails on it otherwise; images of bytes stay bytes on
    the device, and become floats batch by batch, or int64 for an embedding. Labels that are booleans become class
    indices for losses that take these.
    """
    if not isinstance(source, TensorSource) or not source.adaptable or source.needed is not None:
        return
    told = [source.converted] if source.converted else []
    labels = list(source.targets.items()) or [((), source.columns[-1])][: len(source.columns) - 1]
    of_classes = [
        labels for place, labels in labels if labels.dtype == torch.bool and _takes_indices(loss_at(loss, place))
    ]
    if of_classes:
        columns = [column.long() if any(column is own for own in of_classes) else column for column in source.columns]
        source.columns = tuple(columns)
        told.append(say_conversion(torch.bool, torch.int64))
    x, *others = source.columns
    as_given = source.inputs is None or x.is_floating_point() or x.is_complex()
    needed = None if as_given else _needed_type(model, x)
    if needed is not None:
        said = say_conversion(x.dtype, needed)
        if x.dtype == torch.uint8:
            source.needed = needed
            said = _("{told} batch by batch", told=said)
        else:
            x = x.to(needed)
        told.append(said)
    source.columns, source.converted = (x, *others), ", ".join(told)


def _takes_indices(loss: object) -> bool:
    if isinstance(loss, str):
        return loss in LOSSES and LOSSES[loss].task == "classification"
    return read_traits(loss).classes_first is True


def _needed_type(model: nn.Module, x: Tensor) -> torch.dtype | None:
    """Return what the first samples have to become; None if the model takes them as they are, or not at all.

    A copy of the model that shares its weights is asked, for evaluation: nothing in the model itself changes. Buffers
    may, as those of observers do in evaluation too, so it has its own.
    """
    kept = {id(weight): weight for weight in model.parameters()}
    device = next(model.parameters()).device
    try:
        twin = deepcopy(model, kept).eval()
    except Exception:  # the user's model may hold what cannot be copied
        return None

    def takes(sample: Tensor) -> bool:
        try:
            with torch.no_grad(), Noise.lock, Noise(device, twin).seeded(0):
                twin(sample)
        except Exception:  # whatever the user's model raises
            return False
        return True

    sample = x[:2].to(device, copy=True)
    if takes(sample):
        return None
    others = (float_type(model), torch.int64) if x.dtype == torch.uint8 else (float_type(model),)
    return next((dtype for dtype in others if takes(sample.to(dtype))), None)


def explain_types(error: Exception, batch: Any, model: nn.Module) -> str:
    """Return what to do about an error of torch's that is due to types that differ; "" for any other error."""
    given = {tensor.dtype for tensor in tensors(batch)}
    own = {parameter.dtype for parameter in model.parameters()}
    if "indices" in str(error) and "scalar types" in str(error):
        rule = _("an embedding takes whole numbers of 32 or 64 bits: convert the samples (x.long())")
    elif given <= own or not re.search("dtype|scalar type|Input type", str(error)):
        return ""
    else:
        wanted = next((dtype for dtype in own if dtype.is_floating_point or dtype.is_complex), torch.float32)
        rule = _("convert the samples in the Dataset (x{way})", way=_conversion(wanted))
        floats = [dtype for dtype in given - own if dtype.is_floating_point]
        if floats:
            rule = _("{rule} or the model (model{way})", rule=rule, way=_conversion(floats[0]))
    return _(
        "nbopt: the batch holds {given}, the model's weights are {own}: {rule}.",
        given=_names(given),
        own=_names(own),
        rule=rule,
    )


def explain_target(error: Exception, output: Any, target: Any) -> str:
    """Return what to do about an error of a loss that is due to the target's type; "" for any other error."""
    if not isinstance(output, Tensor) or not isinstance(target, Tensor) or output.dtype == target.dtype:
        return ""
    if not re.search("dtype|[Tt]ype|bool tensors", str(error)):
        return ""
    rule = _("losses of classes take whole numbers of 64 bits (y.long()), all others floats (y.float())")
    given = _names({output.dtype}), _names({target.dtype})
    return _(
        "nbopt: the outputs are {output}, the targets {target}: {rule}.", output=given[0], target=given[1], rule=rule
    )


def _conversion(dtype: torch.dtype) -> str:
    usual = {torch.float32: ".float()", torch.float64: ".double()"}
    return usual.get(dtype, f".to({dtype})")


def _names(dtypes: set[torch.dtype]) -> str:
    return ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in dtypes))
