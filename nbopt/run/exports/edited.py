"""What edits of its model a run tells its exports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nbopt.data.noise import EDITS, derive_seed
from nbopt.edits import EDITS as STRUCTURE
from nbopt.edits import read_edit
from nbopt.errors import InvalidHyperparam, unknown
from nbopt.export.edits import Size, ToldEdit, Written
from nbopt.i18n import _
from nbopt.record.journal import EDIT, Entry, Operation
from nbopt.run.past import copy_parts
from nbopt.run.trained import TrainedSession
from nbopt.techniques.base import defines
from nbopt.techniques.catalogue import with_own
from nbopt.training.structure.edit import Plan, Resize
from nbopt.training.structure.exchange import Exchange
from nbopt.training.structure.sizes import find_sizes


def tell_edits(
    run: TrainedSession, entries: Sequence[Entry]
) -> tuple[nn.Module, torch.optim.Optimizer | None, list[ToldEdit]]:
    """Return a copy of a run's model as it was before all edits, of the user's optimizer over it, and the edits."""
    made, _shared = copy_parts(run)
    model, walked = made["model"], copy_parts(run)[0]["model"]
    told = []
    for number, entry in enumerate(entries):
        edit = read_edit(entry.new).take(run.training.given)
        generator = torch.Generator().manual_seed(derive_seed(run.training.context.seed, EDITS, number))
        plan = edit.plan(walked, generator)
        before = {id(layer): dict(find_sizes(layer)) for layer in walked.modules()}
        Exchange(walked, plan).do()
        written, attributes = edit.write(number), dict[str, dict[str, int]]()
        for name, layer in walked.named_modules():
            held = dict(find_sizes(layer))
            if changed := {key: size for key, size in held.items() if size != before.get(id(layer), held).get(key)}:
                attributes[name] = changed
        brought = [module for module in plan.modules.values() if module is not None]
        sizes = {} if written.given else _sizes(plan)
        own = {} if written.given else attributes
        settled = bool(entry.new.get("settled"))
        if settled and (name := _set_before(run, entry)):
            way = _("{name} was set in the same step, before it; do a step in between", name=name)
            written = written._replace(refused=written.refused or way)
        told.append(ToldEdit(entry.step, edit.kind, plan.words, sizes, own, written, settled, brought, edit.settings()))
    return model, made["optimizer"] if run.spec.own_optimizer is not None else None, told


def _set_before(run: TrainedSession, edit: Entry) -> str:
    """Return what decides which weights a model computes with, and was set between the last step and an edit."""
    kinds = [kind for kind in with_own(run.techniques) if isinstance(kind, type) and defines(kind, "change_weights")]
    names = {name for kind in kinds for name in kind.declared()}
    entries = run.journal.effective()
    before = entries[: next(k for k, entry in enumerate(entries) if entry is edit)]
    return next((entry.name for entry in before if entry.step == edit.step and entry.name in names), "")


def tell_planned(operations: Sequence[Operation]) -> list[ToldEdit]:
    """Return the edits among what a run is to do that has not begun."""
    told = []
    for operation in operations:
        if operation.name == EDIT:
            edit, settled = read_edit(operation.value), bool(operation.value.get("settled"))
            late = Written(refused=_("it is made when the run gets there"))
            told.append(ToldEdit(operation.step, edit.kind, str(edit), {}, {}, late, settled, [], edit.settings()))
    return told


def read_planned(schedule: Mapping[int, dict[str, Any]], given: Mapping[str, nn.Module | None]) -> list[Operation]:
    """Take the edits out of a recipe's schedule, and return them as operations.

    Raises
    ------
    InvalidHyperparam
        If one is none; says where it stands and why.
    """
    planned = []
    for step, changes in schedule.items():
        value = changes.pop(EDIT, [])
        where = _("schedule, step {step}", step=step)
        for one in value if isinstance(value, list) else [value]:
            if not isinstance(one, dict) or len(one) != 1:
                rule = _("edit must be the name of an edit with its settings, as {widen: {layer: hidden, by: 8}}")
                raise InvalidHyperparam(_("{where}: {rule}; got {value!r}.", where=where, rule=rule, value=one))
            ((name, settings),) = one.items()
            if name not in STRUCTURE:
                raise InvalidHyperparam(f"{where}: {unknown(_('edit'), name, STRUCTURE)}")
            own = dict(settings or {})
            settled = own.pop("settled", False) is True
            try:
                edit = STRUCTURE[name].of_settings(own, given)
            except (TypeError, ValueError) as error:
                raise InvalidHyperparam(f"{where}: {error}") from error
            asked = {**edit.to_json(), "asked": True, "settled": settled}
            planned.append(Operation(step, EDIT, asked, "recipe"))
    return planned


def _sizes(plan: Plan) -> Mapping[str, list[Size]]:
    return {
        name: [
            (each.dim, each.units.tolist(), _plain(each.values), _plain(each.gradients), _plain(each.into))
            for each in plan.resized(name)
            if isinstance(each, Resize)
        ]
        for name in plan.resizes
    }


def _plain(values: Tensor | None) -> Any:
    return None if values is None else values.tolist()
