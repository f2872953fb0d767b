"""The states of many runs of one shape as one snapshot, and each of them again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from nbopt.record.snapshots import Snapshot


def join(snapshots: Sequence[Snapshot], step: int, facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Snapshot:
    """Return one snapshot of many: what is of one shape stands in one tensor, and what is alike stands there once.

    Parameters
    ----------
    snapshots : sequence of Snapshot
        One of each run.
    step : int
        Of the joint one.
    facts, tensors : mapping
        What it is to hold besides.
    """
    joint = {f"own.{name}": tensor for name, tensor in tensors.items()}
    for name in dict.fromkeys(name for one in snapshots for name in one.tensors):
        each = [one.tensors.get(name) for one in snapshots]
        there = [tensor for tensor in each if tensor is not None]
        first = there[0]
        if len(there) == len(each) and all(_are_alike(first, tensor) for tensor in there):
            if all(tensor is first or torch.equal(first, tensor) for tensor in there):
                joint[f"one.{name}"] = first
            else:
                joint[f"all.{name}"] = torch.stack(there)
        else:
            known: set[int] = set()
            for number, tensor in enumerate(each):
                if tensor is not None:  # copies of a member share what is never written to, and files do not
                    joint[f"{number}.{name}"] = tensor.clone() if id(tensor) in known else tensor
                    known.add(id(tensor))
    each_facts = _join_facts([one.facts for one in snapshots])
    return Snapshot(step, joint, {**facts, "steps": [one.step for one in snapshots], "each": each_facts})


def part(joint: Snapshot, number: int) -> Snapshot:
    """Return the state of one run.

    Raises
    ------
    ValueError, KeyError, IndexError, TypeError
        If the joint snapshot does not hold one.
    """
    tensors: dict[str, Tensor] = {}
    for key, tensor in joint.tensors.items():
        kind, name = key.split(".", 1)
        if kind == "one":
            tensors[name] = tensor
        elif kind == "all":
            tensors[name] = tensor[number]
        elif kind == str(number):
            tensors[name] = tensor
    facts = _part_of(joint.facts["each"], number)
    if not isinstance(facts, dict):
        raise ValueError("no state")
    return Snapshot(joint.facts["steps"][number], tensors, facts)


def own_tensors(joint: Snapshot) -> dict[str, Tensor]:
    """Return the tensors that were given besides."""
    return {name.removeprefix("own."): tensor for name, tensor in joint.tensors.items() if name.startswith("own.")}


def _are_alike(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype and one.is_contiguous() and other.is_contiguous()


def _join_facts(each: Sequence[Any]) -> dict[str, Any]:
    first = each[0]
    if all(one == first and type(one) is type(first) for one in each) and repr(first) == repr(each[-1]):
        return {"one": first}
    if all(isinstance(one, dict) and one.keys() == first.keys() for one in each):
        return {"of": {key: _join_facts([one[key] for one in each]) for key in first}}
    return {"each": list(each)}


def _part_of(joined: dict[str, Any], number: int) -> Any:
    if "one" in joined:
        return joined["one"]
    if "of" in joined:
        return {key: _part_of(held, number) for key, held in joined["of"].items()}
    return joined["each"][number]
