"""What an optimizer remembers, as a snapshot holds it: by the names of the weights, never by their position."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor

from nbopt.i18n import _
from nbopt.record.snapshots import Snapshot
from nbopt.techniques.optimizers.groups import MEANS
from nbopt.techniques.optimizers.wrapped import still_shared
from nbopt.training.core import Core
from nbopt.training.snapshots.blocks import copy_to_cpu

Packed = dict[str, Any]
"""A value as JSON holds it: plain, or ``{kind: ...}`` for a tensor (its name), a list, a tuple or a dictionary."""

_PLAIN = frozenset((type(None), bool, int, str))
_NUMBERS = (bool, int, float)  # of an optimizer's own, as counters of steps


def pack(training: Core, tensors: dict[str, Tensor]) -> Packed:
    """Return all that the optimizer remembers; copies of its tensors go to ``tensors``."""
    names, optimizer = training.material.names, training.torch_optimizer
    state = {}
    for weight, own in training.optimizer.state.items():
        name = names[id(weight)] if isinstance(weight, Tensor) else f"{_OTHER}{weight}"
        plain = {key: value for key, value in own.items() if is_kept(value)} if isinstance(own, Mapping) else own
        state[name] = _pack(plain, tensors, f"optimizer.{name}")
    groups = []
    for index, group in enumerate(optimizer.param_groups):
        settings = {key: value for key, value in group.items() if key != "params" and is_kept(value)}
        held = [names[id(weight)] for weight in group["params"]]
        groups.append({"weights": held, "settings": _pack(settings, tensors, f"optimizer.{index}")})
    counters = {key: value for key, value in vars(optimizer).items() if isinstance(value, _NUMBERS)}
    return {"kind": type(optimizer).__name__, "state": state, "groups": groups, "counters": counters}


def compare_groups(training: Core, facts: Mapping[str, Any]) -> str:
    """Say in words how the weights that the optimizer holds are others than those in a snapshot; "" if they are not."""
    packed, resting = facts.get("moments"), {*training.material.resting, *facts.get("resting", ())}
    if packed is None or packed["kind"] != type(training.torch_optimizer).__name__:
        return ""
    names = training.material.names
    held = [[names[id(weight)] for weight in group["params"]] for group in training.torch_optimizer.param_groups]
    before = [group["weights"] for group in packed["groups"]]
    if [set(group) - resting for group in held] == [set(group) - resting for group in before]:
        return ""
    return _(
        "the optimizer does not hold the weights that it held in this run: then {before}, now {held}",
        before=_count(before),
        held=_count(held),
    )


def remembers(snapshot: Snapshot) -> bool:
    """Return whether the optimizer remembered anything when a snapshot was taken; what it is made with is nothing."""
    if "moments" in snapshot.facts:
        states = [_unpack(own, snapshot.tensors) for own in snapshot.facts["moments"]["state"].values()]
        return any(not isinstance(own, Mapping) or own.get("step", 1) != 0 for own in states)  # Adagrad's has sums of 0
    return any(name.startswith("optimizer.") for name in snapshot.tensors)


def unpack(training: Core, packed: Packed, tensors: Mapping[str, Tensor]) -> None:
    """Have the optimizer remember what `pack` returned.

    Raises
    ------
    ValueError
        If it does not hold the same weights, group by group.
    """
    optimizer = training.torch_optimizer
    if packed["kind"] != type(optimizer).__name__:  # swapped before the first step, which a run begins without
        return
    if difference := compare_groups(training, {"moments": packed}):
        raise ValueError(difference)
    _load(training, {name: _unpack(own, tensors) for name, own in packed["state"].items()})
    for group, saved in zip(optimizer.param_groups, packed["groups"], strict=True):
        for key, value in _unpack(saved["settings"], tensors).items():
            if key not in MEANS:
                group[key] = value
    for name, value in packed["counters"].items():
        if isinstance(getattr(optimizer, name, 0), _NUMBERS):
            setattr(optimizer, name, value)


def unpack_by_position(training: Core, scalars: Mapping[str, Any], tensors: Mapping[str, Any]) -> None:
    """Have the optimizer remember what an earlier version stored, by the position of each weight."""
    weights = _in_order(training)
    state: dict[str, Any] = {}
    for key, value in {**tensors, **scalars}.items():
        index, own = key.split(".", 1)
        state.setdefault(training.material.names[id(weights[int(index)])], {})[own] = value
    _load(training, state)


def find_other(training: Core) -> dict[str, Any]:
    """Return all else that the optimizer remembers, in attributes, groups and beside its weights."""
    names, optimizer = training.material.names, training.torch_optimizer
    own = {name: value for name, value in vars(optimizer).items() if name not in _standard()}
    groups = [{key: value for key, value in group.items() if not is_kept(value)} for group in optimizer.param_groups]
    state = {
        names[id(weight)]: {key: value for key, value in beside.items() if not is_kept(value)}
        for weight, beside in training.optimizer.state.items()
        if isinstance(weight, Tensor) and isinstance(beside, Mapping)
    }
    found = [{key: value for key, value in group.items() if key != "params"} for group in groups]
    return {
        "kind": type(optimizer).__name__,
        "own": own,
        "groups": found,
        "state": {k: v for k, v in state.items() if v},
    }


def put_other(training: Core, other: Mapping[str, Any]) -> None:
    """Have the optimizer remember what `find_other` returned."""
    optimizer, parameters = training.torch_optimizer, training.material.parameters
    if other["kind"] != type(optimizer).__name__ or len(other["groups"]) != len(optimizer.param_groups):
        return
    vars(optimizer).update(other["own"])
    for group, settings in zip(optimizer.param_groups, other["groups"], strict=True):
        group.update(settings)
    for name, beside in other["state"].items():
        if name in parameters:
            optimizer.state[parameters[name]].update(beside)


@cache
def _standard() -> frozenset[str]:
    """Return what torch itself keeps in an optimizer's attributes; when asked, as making one imports its compiler."""
    return frozenset(vars(torch.optim.SGD([torch.zeros(1)], lr=0.0))) | {"_params", "_numel_cache", "step"}


def compare_positions(training: Core, tensors: Mapping[str, Tensor]) -> str:
    """Say in words that what an earlier version stored by position is of other weights; "" if it can be of these."""
    weights = _in_order(training)
    for name, tensor in tensors.items():
        kind, _dot, place = name.partition(".")
        index, _dot, own = place.partition(".")
        if kind != "optimizer" or own not in _LIKE_WEIGHTS:
            continue
        if int(index) >= len(weights) or tensor.shape != weights[int(index)].shape:
            return _("other weights were trained: freeze those that were frozen then")
    return ""


_LIKE_WEIGHTS = ("exp_avg", "exp_avg_sq", "momentum_buffer", "square_avg", "sum")  # of the weight's shape


def _in_order(training: Core) -> list[Tensor]:
    optimizer = training.torch_optimizer
    if optimizer is training.groups.instance:
        return [weight for group in optimizer.param_groups for weight in group["params"]]
    # An earlier version had them in one group, whatever groups the user's own optimizer has.
    return [weight for weight in training.model.parameters() if weight.requires_grad]


_OTHER = "*"  # begins the name of what an optimizer remembers of no weight


def _load(training: Core, state: Mapping[str, Any]) -> None:
    """Hand over a state by name: through torch, which brings it to each weight's device."""
    optimizer, parameters = training.torch_optimizer, training.material.parameters
    position: dict[int, int] = {}
    for weight in (weight for group in optimizer.param_groups for weight in group["params"]):
        position[id(weight)] = len(position)
    resting = {}
    known: dict[Any, Any] = {}
    for name, own in state.items():
        if name.startswith(_OTHER):
            known[name.removeprefix(_OTHER)] = own
        elif id(parameters[name]) in position:
            known[position[id(parameters[name])]] = own
        else:
            resting[parameters[name]] = _to(own, parameters[name].device)
    groups = optimizer.state_dict()["param_groups"]
    with still_shared(optimizer):
        optimizer.load_state_dict({"state": known, "param_groups": groups})
    for name, own in state.items():  # torch gives numbers the weight's type, which is not always theirs
        loaded = optimizer.state.get(parameters[name], {}) if name in parameters else {}
        for key, value in own.items() if isinstance(own, dict) else ():
            if isinstance(value, Tensor) and key in loaded and loaded[key].dtype != value.dtype:
                loaded[key] = value.to(loaded[key].device)
            elif isinstance(value, str):
                loaded[key] = value
    training.optimizer.remember({**optimizer.state, **resting})


def _pack(value: Any, tensors: dict[str, Tensor], name: str) -> Any:
    if type(value) in _PLAIN or type(value) is float:  # most of it
        return value
    if isinstance(value, Tensor):
        tensors[name] = copy_to_cpu(value)
        return {"tensor": name}
    if isinstance(value, Mapping):
        items = [[key, _pack(own, tensors, f"{name}.{key}")] for key, own in value.items()]
        return {"dict": items}
    if isinstance(value, (list, tuple)):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [_pack(own, tensors, f"{name}#{k}") for k, own in enumerate(value)]}
    return value


def _unpack(packed: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(packed, dict):
        return packed
    ((kind, value),) = packed.items()
    if kind == "tensor":
        return tensors[value].detach().clone()
    if kind == "dict":
        return {key: _unpack(own, tensors) for key, own in value}
    items: Iterable[Any] = (_unpack(own, tensors) for own in value)
    return tuple(items) if kind == "tuple" else list(items)


def is_kept(value: Any) -> bool:
    """Whether a value is one that JSON and a snapshot's tensors can hold; else see `find_other`."""
    if type(value) is float:
        return math.isfinite(value)
    if type(value) in _PLAIN or isinstance(value, Tensor):
        return True
    if type(value) in (list, tuple):
        return all(map(is_kept, value))
    if type(value) is dict:
        return all(map(is_kept, value)) and all(map(is_kept, value.values()))
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return math.isfinite(value)
    return isinstance(value, str)


def _to(own: Any, device: torch.device) -> Any:
    if isinstance(own, Tensor):
        return own.to(device)
    if isinstance(own, dict):
        return {key: value if key == "step" else _to(value, device) for key, value in own.items()}
    return [_to(value, device) for value in own] if isinstance(own, list) else own


def _count(groups: list[list[str]]) -> str:
    return " + ".join(_("{count} weights", count=len(names)) for names in groups)
