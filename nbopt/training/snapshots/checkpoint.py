"""Taking a snapshot of a run's material, and putting one back."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from torch import Tensor, nn

from nbopt.data.generators import to_json
from nbopt.record.sharing import shared
from nbopt.record.snapshots import Snapshot
from nbopt.training.core import Core
from nbopt.training.snapshots.blocks import copy_to_cpu
from nbopt.training.snapshots.moments import pack
from nbopt.training.snapshots.outside import keep


def capture(training: Core) -> Snapshot:
    """Copy all that the run's future depends on."""
    state = training.model.state_dict()
    tensors = {f"model.{name}": copy_to_cpu(value) for name, value in state.items() if isinstance(value, Tensor)}
    tensors.update({f"own.{name}": copy_to_cpu(tensor) for name, tensor in training.material.tensors().items()})
    parts: dict[str, Any] = {}
    for part, memory in training.acting.state.items():
        _put(tensors, parts, "part", {f"{part}.{key}": value for key, value in memory.items()})
    # The best weights change rarely: their tensors are shared, not copied.
    tensors.update({f"best.{name}": t for name, t in training.best_weights.items() if isinstance(t, Tensor)})
    tensors.update({f"recent.{name}": copy_to_cpu(tensor) for name, tensor in training.recent.pack().items()})
    facts = {
        "hyperparams": dict(training.hyperparams.items()),
        "moments": pack(training, tensors),
        "resting": list(training.material.resting),
        "evaluated": list(training.material.evaluated),
        "cursor": training.cursor.place(),
        "order": training.cursor.seed,
        "parts": parts,
        "validation_due": training.validation_due,
        "seconds": training.meter.seconds,
        "tier": training.tiers.place,
        "generators": _generators(training),
        "split": training.eager.split.state,
        "kept": keep(training, state, tensors),
        "most_evaluated": training.most_evaluated,
        "edits": training.edits,
    }
    return Snapshot(training.step, tensors, facts)


def share_first(training: Core, other: Core) -> None:
    """Have the first snapshots of two runs, and those to come, hold once what is the same in them."""
    facts, known = training.snapshots[0].facts, other.snapshots[0].facts
    facts.update({name: shared(fact, known.get(name)) for name, fact in facts.items() if name != "hyperparams"})
    training.keeper.last = facts["kept"]


def copy_state(model: nn.Module) -> dict[str, Any]:
    """Return a copy of a model's ``state_dict``, on the CPU."""
    state = model.state_dict()
    return {name: copy_to_cpu(value) if isinstance(value, Tensor) else deepcopy(value) for name, value in state.items()}


def _generators(training: Core) -> dict[str, Any]:
    """Return the states of the generators that the user's objects have of their own, as JSON can hold them."""
    sources = {"train": training.cursor.source, "val": training.val}
    states = {"steps": {"model": training.noise.states}}
    position = training.cursor.position
    states.update({role: source.generators(position) for role, source in sources.items() if source is not None})
    found = {(role, place): held for role, places in states.items() for place, held in places.items() if held}
    return {f"{role}.{place}": [to_json(state) for state in held] for (role, place), held in found.items()}


def _put(tensors: dict[str, Tensor], scalars: dict[str, Any], kind: str, state: dict[str, Any]) -> None:
    """Copy a state by name: tensors and lists of them (``name#0``, ``name#1``) to the one, the rest to the other."""
    for name, value in state.items():
        if isinstance(value, Tensor):
            tensors[f"{kind}.{name}"] = copy_to_cpu(value)
        elif isinstance(value, list) and value and isinstance(value[0], Tensor):
            tensors.update({f"{kind}.{name}#{k}": copy_to_cpu(item) for k, item in enumerate(value)})
        else:
            scalars[name] = list(value) if isinstance(value, list) else value
