"""Taking a snapshot of a run's material, and putting one back."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nbopt.data.generators import from_json, to_json
from nbopt.record.snapshots import Snapshot
from nbopt.training.blocks import copy_to_cpu
from nbopt.training.moments import pack, unpack, unpack_by_position
from nbopt.training.outside import extra_state, keep, put_back, put_optimizer
from nbopt.training.reactions import react
from nbopt.training.rebuild import rebuild

if TYPE_CHECKING:
    from nbopt.training.training import Training


def capture(training: Training) -> Snapshot:
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
        "hyperparams": dict(training.hyperparams),
        "moments": pack(training, tensors),
        "resting": list(training.material.resting),
        "evaluated": list(training.material.evaluated),
        "cursor": training.cursor.place(),
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


def restore(training: Training, snapshot: Snapshot) -> None:
    """Put the run's material back to where ``snapshot`` was taken; hyperparameters included."""
    facts = snapshot.facts
    known = {"resting": list(training.material.resting), "evaluated": list(training.material.evaluated)}
    if "resting" in facts and {name: facts[name] for name in known} != known | training.material.place():
        training.tune(facts)
    for name, value in facts["hyperparams"].items():
        if training.hyperparams[name] != value:
            training.hyperparams.assign(name, value)
            react(training, name)
    best = restore_material(training, snapshot)
    training.edits = facts.get("edits", [])
    rebuild(training)
    if "moments" in facts:
        unpack(training, facts["moments"], snapshot.tensors)
    else:
        unpack_by_position(training, facts["optimizer"], _get(snapshot, "optimizer"))
    if "kept" in facts:
        put_optimizer(training, facts["kept"], snapshot.tensors)
    rebuild(training)  # from a file, numbers come in the order of their weights but with other strides for sizes of 1
    recall(training, snapshot)
    training.best_weights = _part(snapshot, "best") | best
    training.step = snapshot.step
    training.cursor.seek(*facts["cursor"])
    training.validation_due = facts["validation_due"]
    training.forget_unmeasured(facts["seconds"])
    _put_generators(training, facts.get("generators", {}))
    training.eager.split.state = facts.get("split", {})
    training.most_evaluated = max(0, int(facts.get("most_evaluated", 0)))
    training.tiers.restore(facts.get("tier", {}))
    training.recent.unpack(_part(snapshot, "recent"))


def recall(training: Training, snapshot: Snapshot) -> None:
    """Let the techniques remember what they did, and how large losses are be looked at in the next batch."""
    parts: dict[str, dict[str, Any]] = {}
    device = next(training.model.parameters()).device
    for name, value in {**_get(snapshot, "part", device), **snapshot.facts.get("parts", {})}.items():
        part, key = name.split(".", 1)
        parts.setdefault(part, {})[key] = value
    training.acting.recall(parts, snapshot.facts)
    training.pass_.look_again()


def restore_material(training: Training, snapshot: Snapshot) -> dict[str, Any]:
    """Put model and loss back, and what they keep; return what the best weights hold that is no tensor."""
    kept = snapshot.facts.get("kept")  # earlier versions had none
    extra = {} if kept is None else extra_state(training, kept, snapshot.tensors)
    if kept is not None:  # which modules there are, and the shapes of their buffers
        put_back(training, kept, snapshot.tensors)
    training.model.load_state_dict(_part(snapshot, "model") | extra.get("model", {}))
    training.material.load(_part(snapshot, "own"), extra)
    if kept is not None:  # what modules made of their extra state
        put_back(training, kept, snapshot.tensors)
    best: dict[str, Any] = extra.get("best", {})
    return best


def copy_state(model: nn.Module) -> dict[str, Any]:
    """Return a copy of a model's ``state_dict``, on the CPU."""
    state = model.state_dict()
    return {name: copy_to_cpu(value) if isinstance(value, Tensor) else deepcopy(value) for name, value in state.items()}


def _generators(training: Training) -> dict[str, Any]:
    """Return the states of the generators that the user's objects have of their own, as JSON can hold them."""
    sources = {"train": training.cursor.source, "val": training.val}
    states = {"steps": {"model": training.noise.states}}
    position = training.cursor.position
    states.update({role: source.generators(position) for role, source in sources.items() if source is not None})
    found = {(role, place): held for role, places in states.items() for place, held in places.items() if held}
    return {f"{role}.{place}": [to_json(state) for state in held] for (role, place), held in found.items()}


def _put_generators(training: Training, stored: dict[str, Any]) -> None:
    states: dict[str, dict[str, Any]] = {"steps": {}, "train": {}, "val": {}}
    for name, held in stored.items():
        role, place = name.split(".")
        states[role][place] = [from_json(state) for state in held]
    training.noise.states = training.noise.take(states["steps"].get("model", []))
    training.cursor.source.put_generators(states["train"])
    if training.val is not None:
        training.val.put_generators(states["val"])


def _part(snapshot: Snapshot, kind: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{kind}."): t for name, t in snapshot.tensors.items() if name.startswith(f"{kind}.")}


def _put(tensors: dict[str, Tensor], scalars: dict[str, Any], kind: str, state: dict[str, Any]) -> None:
    """Copy a state by name: tensors and lists of them (``name#0``, ``name#1``) to the one, the rest to the other."""
    for name, value in state.items():
        if isinstance(value, Tensor):
            tensors[f"{kind}.{name}"] = copy_to_cpu(value)
        elif isinstance(value, list) and value and isinstance(value[0], Tensor):
            tensors.update({f"{kind}.{name}#{k}": copy_to_cpu(item) for k, item in enumerate(value)})
        else:
            scalars[name] = list(value) if isinstance(value, list) else value


def _get(snapshot: Snapshot, kind: str, device: torch.device | None = None) -> dict[str, Any]:
    """Return copies of what `_put` put among the tensors."""
    state: dict[str, Any] = {}
    for name, tensor in _part(snapshot, kind).items():
        name, listed, _index = name.partition("#")
        copy = tensor.detach().to(device, copy=True)
        if listed:
            state.setdefault(name, []).append(copy)
        else:
            state[name] = copy
    return state
