"""Values as Python source."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Mapping
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nbopt.i18n import _

_FEW = 200  # numbers of a tensor that is written out


def literal(value: Any) -> str:
    """Return ``value`` as Python source: a number, flag, text, None, or tuples, lists, sets and dicts of them."""
    return written(value, _refuse)


def _refuse(value: Any) -> str:
    raise ValueError(_("{value!r} cannot be written as source.", value=value))


def written(value: Any, other: Any) -> str:
    """Return ``value`` as Python source; ``other`` writes what is in it and is no number, text or container."""
    if type(value) is dict:
        return "{" + ", ".join(f"{written(key, other)}: {written(item, other)}" for key, item in value.items()) + "}"
    if type(value) in (tuple, list, set) and (value or type(value) is not set):
        inner = ", ".join(written(item, other) for item in value)
        if isinstance(value, list):
            return f"[{inner}]"
        if isinstance(value, set):
            return "{" + inner + "}"
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if type(value) is str:
        return json.dumps(value)
    if isinstance(value, float) and math.isfinite(value):
        return repr(float(value))
    return repr(value) if value is None or type(value) in (bool, int, complex) else str(other(value))


def tensor_text(value: Tensor) -> str:
    """Return the call that makes a small tensor.

    Raises
    ------
    ValueError
        If it is large, or trained.
    """
    if value.numel() > _FEW or value.requires_grad or value.layout != torch.strided:
        raise ValueError(_("a tensor of shape {shape} is not written as source.", shape=tuple(value.shape)))
    place = "" if value.device.type == "cpu" else f', device="{value.device}"'
    numbers = written(value.detach().cpu().tolist(), _refuse)
    made = torch.tensor(value.detach().cpu().tolist())
    kind = "" if made.dtype == value.dtype else f", dtype={value.dtype}"
    return f"torch.tensor({numbers}{kind}{place})"


def array_text(value: Any) -> str:
    """Return the call that makes a small array, or a number, of numpy's."""
    if value.size > _FEW or value.dtype.kind not in "biufc":
        raise ValueError(_("an array of shape {shape} is not written as source.", shape=value.shape))
    numbers = written(value.tolist(), _refuse)
    return f'np.array({numbers}, dtype="{value.dtype}")' if value.ndim else f"np.{value.dtype}({numbers})"


def settings_of(item: Any) -> dict[str, Any]:
    """Return the arguments that make an object like ``item``: what its class takes, read from attributes so called.

    Raises
    ------
    ValueError
        If they do not make the same again, or it has weights.
    """
    kind = type(item)
    refused = _("{name} is not made anew from its settings.", name=kind.__name__)
    if isinstance(item, nn.Module) and any(True for _weight in item.parameters()):
        raise ValueError(_("{name} has weights.", name=kind.__name__))
    given = {}
    try:
        parameters = inspect.signature(kind).parameters
    except (TypeError, ValueError) as error:
        raise ValueError(refused) from error
    for name, parameter in parameters.items():
        if name in ("size_average", "reduce") or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        value = getattr(item, name, getattr(item, f"_{name}", parameter.default))
        if not alike(value, parameter.default):
            given[name] = value
    if kind.__module__ != "torch.nn.modules.loss":
        try:
            with torch.random.fork_rng(devices=[]):
                made = kind(**given)
        except Exception as error:  # whatever a class of the user's raises
            raise ValueError(refused) from error
        if not alike(vars(item), vars(made)):
            raise ValueError(refused)
    return given


def alike(one: Any, other: Any) -> bool:
    """Whether two values are of one class and hold the same."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and bool(torch.equal(one, other))
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and bool(np.array_equal(one, other))
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(key == "training" or alike(one[key], other[key]) for key in one)
    if isinstance(one, (tuple, list)):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, set)):
        return bool(one == other) or one != one
    if isinstance(one, (type, FunctionType, MethodType, BuiltinFunctionType)) or not hasattr(one, "__dict__"):
        return False
    return alike(vars(one), vars(other))
