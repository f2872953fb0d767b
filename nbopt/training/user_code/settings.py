"""The plain values by which a user's loss, forward and model are told what to compute, wherever they stand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor, nn

from nbopt.training.compile.values import is_constant, is_record, is_torchs, is_users
from nbopt.training.core import Core
from nbopt.training.user_code.callables import functions_of, owners_of
from nbopt.training.user_code.strangers import find_reads

_FEW = 100  # values of a container that are looked at
_MODULES_OWN = frozenset(vars(nn.Module()))


def find_settings(training: Core) -> dict[str, str]:
    """Return as text, by name, the values that the user's code reads: its globals, closures and own attributes."""
    given = [*functions_of(training.loss), training.pass_.forward]
    owners = [owner for function in given for owner in owners_of(function)]
    for module in (training.model, *training.material.others.values()):
        owners += [part for part in module.modules() if is_users(type(part))]
    owners = list({id(owner): owner for owner in owners}.values())
    functions = [function for function in given if not is_torchs(function)]
    for owner in owners:
        if is_users(type(owner)) and callable(owner):
            functions.append(type(owner).forward if isinstance(owner, nn.Module) else type(owner).__call__)
    found = dict(find_reads(functions))
    for number, owner in enumerate(owners):
        spaces = [
            *reversed([vars(kind) for kind in type(owner).__mro__ if is_users(kind)]),
            getattr(owner, "__dict__", {}),
        ]
        for name, value in {name: value for space in spaces for name, value in space.items()}.items():
            if name not in _MODULES_OWN and not name.startswith("__"):
                found[f"{type(owner).__name__}.{name}" + f" {number}" * (number > 0)] = value
    return {name: text for name, value in found.items() if (text := _tell(value))}


def _tell(value: Any, deep: bool = True) -> str:
    """Return a text that tells numbers and the like apart, in containers and records too; "" for all else."""
    if is_constant(value):
        return repr(value)
    if isinstance(value, (Tensor, np.ndarray)):
        return repr(value.tolist()) if 0 < math.prod(value.shape) <= _FEW else ""
    if deep and isinstance(value, (list, tuple)) and len(value) <= _FEW:
        return repr([_tell(item, deep=False) for item in value])
    fields = value if isinstance(value, dict) else vars(value) if is_record(value) else {}
    if deep and 0 < len(fields) <= _FEW:
        return repr({name: _tell(item, deep=False) for name, item in fields.items()})
    return ""
