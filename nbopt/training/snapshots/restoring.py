"""Putting a snapshot of a run's material back."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from nbopt.data.generators import from_json
from nbopt.record.snapshots import Snapshot
from nbopt.training.changes.reactions import react
from nbopt.training.snapshots.moments import unpack, unpack_by_position
from nbopt.training.snapshots.outside import extra_state, put_back, put_optimizer
from nbopt.training.structure.rebuild import rebuild
from nbopt.training.structure.structure import go_to_edits
from nbopt.training.training import Training


def restore(training: Training, snapshot: Snapshot) -> None:
    """Put the run's material back to where ``snapshot`` was taken; hyperparameters included."""
    facts = snapshot.facts
    go_to_edits(training, facts.get("edits", []))
    known = {"resting": list(training.material.resting), "evaluated": list(training.material.evaluated)}
    if "resting" in facts and {name: facts[name] for name in known} != known | training.material.place():
        training.tune(facts)
    for name, value in facts["hyperparams"].items():
        if training.hyperparams[name] != value:
            training.hyperparams.assign(name, value)
            react(training, name)
    best = restore_material(training, snapshot)
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
    for name, value in {**_get(snapshot, "part", device), **deepcopy(snapshot.facts.get("parts", {}))}.items():
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
