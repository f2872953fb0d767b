"""A model's structure, which follows from the one that it was given with and from the edits that were made of it.

Snapshots tell which these are. Going to one undoes those that it has not, and makes those that it has: the numbers in
weights come from the snapshot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from nbopt.data.noise import EDITS as STREAM
from nbopt.data.noise import derive_seed
from nbopt.i18n import _
from nbopt.techniques.optimizers.groups import put_weights
from nbopt.training.core import Core
from nbopt.training.structure.edit import Edit, Plan
from nbopt.training.structure.exchange import Exchange, Record, undo

EDITS: dict[str, type[Edit]] = {}
"""By the name that the journal has for each; `nbopt.edits` enters its own."""


def read_edit(value: Mapping[str, Any]) -> Edit:
    """Return the edit that a journal tells of.

    Raises
    ------
    ValueError, TypeError
        If there is no such edit.
    """
    kind = EDITS.get(value["edit"]) if isinstance(value.get("edit"), str) else None
    if kind is None:
        raise ValueError(_("there is no edit {name}.", name=value.get("edit")))
    return kind.from_json(value)


def plan_edit(training: Core, edit: Edit) -> Plan:
    """Return what an edit is to do to the model as it is now."""
    seed = derive_seed(training.context.seed, STREAM, len(training.edits))
    return edit.take(training.given).plan(training.model, torch.Generator().manual_seed(seed))


def do_exchange(training: Core, exchange: Exchange) -> None:
    """Give the model another structure, and the optimizer's groups its weights; `undo_last` leads back."""
    training.undoing.append([*exchange.records, ["groups", training.groups.held]])
    training.material.exchanged = True
    exchange.do()
    here = {id(weight) for weight in training.material.find_parameters().values()}
    gone = {id(weight) for weight in training.groups.weights} - here
    pairs = [
        ([] if old is None else list(old.parameters()), [] if new is None else list(new.parameters()))
        for old, new in exchange.modules
    ]
    if pairs:
        training.groups.exchange(pairs, gone)


def undo_last(training: Core) -> None:
    """Give the model the structure that it had before the last edit, made whole or in part."""
    training.material.exchanged = True
    records = training.undoing[-1]
    undo(records)
    training.groups.put(_groups_of(records))
    training.undoing.pop()
    training.edits = training.edits[: len(training.undoing)]


def go_to_edits(training: Core, edits: Sequence[Mapping[str, Any]]) -> None:
    """Give the model the structure that just these edits lead to; the numbers in its weights are then any."""
    have = training.edits
    if have == edits and len(training.undoing) == len(edits):
        return
    same = next((k for k, (one, other) in enumerate(zip(have, edits, strict=False)) if one != other), len(have))
    while len(training.undoing) > min(same, len(edits)):
        undo_last(training)
    for value in edits[len(training.undoing) :]:
        do_exchange(training, Exchange(training.model, plan_edit(training, read_edit(value))))
        training.edits = [*training.edits, dict(value)]
    training.material.renew()
    weights = {id(weight) for weight in training.material.parameters.values()}
    state = training.optimizer.state
    training.optimizer.remember_only(
        {weight: own for weight, own in state.items() if not isinstance(weight, torch.Tensor) or id(weight) in weights}
    )


def undo_all(undoing: Sequence[Sequence[Record]], optimizer: torch.optim.Optimizer | None) -> None:
    """Give a copy of a model, and of the optimizer over its weights, the structure that it had before all edits."""
    for records in reversed(undoing):
        undo(records)
    if undoing and optimizer is not None:
        put_weights(optimizer, _groups_of(undoing[0]))


def _groups_of(records: Sequence[Record]) -> Any:
    return next(groups for kind, groups, *_rest in records if kind == "groups")
