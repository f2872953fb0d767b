"""Batch norms that come right behind a layer, which may be one with it once nothing trains any more.

Scripts hold these functions as they are written here, so in lines of 88 characters.
"""

from __future__ import annotations

import copy
import itertools
from typing import Any

import torch
from torch import Tensor, fx, nn


def is_norm(module: nn.Module) -> bool:
    """Whether a module is a batch norm of torch's."""
    kinds = nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm
    return type(module) in kinds


def is_transposed(module: Any) -> bool:
    """Whether a module is a transposed convolution of torch's."""
    kinds = nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d
    return type(module) in kinds


def find_norms(model: nn.Module) -> dict[str, tuple[str, str]]:
    """Return for each batch norm the layer that it comes right behind, and what is odd.

    A norm may be folded into its layer where nothing is odd: what the layer puts out
    goes to the norm alone, each time that the model is called, and the norm tells by
    its running means alone what it does. Otherwise the second says why not.
    """
    norms = {name: part for name, part in model.named_modules() if is_norm(part)}
    if not norms:
        return {}
    known = AssertionError, AttributeError, LookupError, RuntimeError, TypeError
    try:
        nodes = list(follow(model).nodes)
    except (*known, ValueError) as error:  # the forward looks at numbers
        told = f"{type(error).__name__}: {error}".splitlines()[0]
        return dict.fromkeys(norms, ("", f"untraced {told}"))
    calls: dict[str, list[fx.Node]] = {}
    for node in nodes:
        if node.op == "call_module":
            calls.setdefault(str(node.target), []).append(node)
        if node.op == "get_attr":  # a weight that the model takes from its layer itself
            calls.setdefault(str(node.target).rpartition(".")[0], []).append(node)
    found = {}
    for name, norm in norms.items():
        layer, odd = "", "uncalled"
        if name in calls and calls[name][0].op == "call_module":
            before = calls[name][0].args[0] if calls[name][0].args else None
            layer = str(before.target) if isinstance(before, fx.Node) else ""
            odd = look(model, calls, layer, name, norm)
        found[name] = (layer, odd)
    return found


def look(
    model: nn.Module,
    calls: dict[str, list[fx.Node]],
    layer: str,
    name: str,
    norm: Any,
) -> str:
    """Return why a norm may not be folded into a layer; "" if it may."""
    before: Any = model.get_submodule(layer) if layer in calls else None
    plain = nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d
    if type(before) not in plain and not is_transposed(before):
        return "no layer"
    node = calls[layer][0]
    if len(calls[layer]) > 1 or len(calls[name]) > 1:
        return "several calls"
    if len(node.users) > 1:
        return "used elsewhere"
    if norm.running_mean is None or norm.running_var is None:
        return "no means"
    if is_transposed(before) and before.groups > 1:
        return "grouped"
    if is_hooked(before) or is_hooked(norm):
        return "hooked"
    every = itertools.chain(*(part.parameters(False) for part in model.modules()))
    if sum(each is before.weight for each in every) > 1:
        return "shared"
    return ""


def is_hooked(module: Any) -> bool:
    """Whether something else acts when a module is called, or makes its weights."""
    if any(getattr(module, name) for name in ("_forward_hooks", "_forward_pre_hooks")):
        return True
    return "weight" not in module._parameters


def follow(model: nn.Module) -> fx.Graph:
    """Return the graph of a model's operations, without a trace in it."""
    kept = itertools.chain(model.parameters(), model.buffers())
    twin = copy.deepcopy(model, {id(tensor): tensor for tensor in kept})
    with torch.random.fork_rng(devices=[]):
        return fx.Tracer().trace(twin)


def factors_of(norm: Any) -> Tensor:
    """Return what a norm in evaluation mode multiplies each channel by, (channels,)."""
    factor: Tensor = torch.rsqrt(norm.running_var + norm.eps)
    return factor if norm.weight is None else factor * norm.weight.detach()


@torch.no_grad()
def factor_of_rows(norm: nn.Module, weight: Tensor) -> Tensor:
    """Return that, shaped as a factor of a weight's rows, none of them 0."""
    factor = factors_of(norm).to(weight).view(-1, *[1] * (weight.ndim - 1))
    return torch.where(factor.abs() < 1e-8, 1e-8, factor)
