"""What a stored run was made with, put together from the store and from what only the user has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from inspect import signature
from typing import Any

import torch

from nbopt.edits import read_edit
from nbopt.hyperparams import Hyperparams
from nbopt.i18n import _
from nbopt.record.journal import EDIT, Entry
from nbopt.run.declared import find_loss
from nbopt.run.editing import find_given
from nbopt.run.run import Run
from nbopt.run.spec import RunSpec
from nbopt.run.stored.checked_record import check_values
from nbopt.run.stored.earlier import known_only
from nbopt.run.stored.fingerprint import (
    compare_frozen,
    describe_data,
    describe_model,
    describe_spec,
    differences,
    find_frozen,
    pick,
)
from nbopt.store.checked import spoilt
from nbopt.store.reading import Record
from nbopt.techniques.losses.by_output import read_label
from nbopt.techniques.metrics.by_output import read_labels
from nbopt.techniques.schedules.choice import SCHEDULE, SCHEDULES
from nbopt.training.device import if_here

_ARGUMENTS = frozenset(signature(Run).parameters)  # no names of hyperparameters


def check_given_model(record: Record, model: torch.nn.Module) -> None:
    """Raise ValueError for another model than the one that a run was made with."""
    if missing := differences(record.settings["model"], describe_model(model), _("model")):
        raise unlike(record, missing)
    frozen = [name for name in record.settings.get("frozen", find_frozen(model)) if name.startswith("model.")]
    if found := compare_frozen(frozen, find_frozen(model)):
        raise unlike(record, found)


def check_given_data(record: Record, train: Any, val: Any) -> None:
    """Raise ValueError for sources of other data than a run was made with."""
    if record.settings["data"] is not None:
        if found := differences(record.settings["data"], describe_data(train, val), _("data")):
            raise unlike(record, found)


def remake(
    record: Record, model: torch.nn.Module, train: Any, val: Any, own: dict[str, Any], device: Any
) -> tuple[RunSpec, Hyperparams]:
    """Return what a run was made with, and hyperparameters declared so.

    Raises
    ------
    ValueError
        If what is given is not that.
    """
    check_given_model(record, model)
    settings = record.settings
    for name in ("loss", "optimizer"):
        label, is_name = settings[name]
        stored = read_label(label, settings["initial"]) if name == "loss" and is_name and ": " in label else label
        own[name] = pick(name, own[name], stored if is_name else None, label)
    names = settings["metrics"]
    stored = read_labels(names) if all(names.values()) else None
    own["metrics"] = pick("metrics", own["metrics"], stored, ", ".join(names))
    if settings["forward"] is not None:
        own["forward"] = pick("forward", own["forward"], None, settings["forward"])
    made_with = settings.get("techniques", {})
    own["techniques"] = pick("techniques", own["techniques"], None if made_with else (), ", ".join(made_with))
    own["given"] = _find_given(record, own.pop("edits"))
    schedule, label = own.pop("schedule"), settings["initial"].get("schedule")
    named = {}
    if isinstance(label, str) and label not in SCHEDULES:
        named["schedule"] = pick("schedule", schedule, None, label)
    spec = RunSpec(
        model,
        train,
        settings["val_fraction"] if val is None else val,
        seed=settings["seed"],
        device=if_here(settings["device"]) if device is None else device,
        store=record.folder,
        hyperparams={**_given(record), **named},
        id=record.id,
        name=record.name,
        created=record.created,
        parent=record.parent,
        val_fraction=settings["val_fraction"],
        **own,
    ).checked()
    hyperparams = spec.declare()
    now = describe_spec(spec, dict(hyperparams), find_loss(hyperparams).modules)
    found = differences(_names(settings), _names(now), _("run"))
    found += differences(settings.get("loss_tensors", now["loss_tensors"]), now["loss_tensors"], _("loss"))
    found += differences(made_with, now["techniques"], _("technique"))
    if found:
        raise unlike(record, found)
    initial = known_only(settings, settings["initial"], hyperparams)
    checked = check_values(record, hyperparams, initial, _("what it was made with"))
    return replace(spec, initial=checked), hyperparams


def _given(record: Record) -> dict[str, Any]:
    """Return the hyperparameters that the run was given; `Run` checks their values."""
    reserved = {name for name in record.settings["given"] if name in _ARGUMENTS}
    if reserved:
        raise spoilt(record.id, _("what it was made with"))
    return {name: record.settings["initial"][name] for name in record.settings["given"]}


def _find_given(record: Record, edits: Any) -> dict[str, torch.nn.Module | None]:
    """Return the modules that edits of the run's model were given, which only the user has."""
    journals = [record.journal, *(member.journal for member in record.members)]
    needed = [label for journal in journals for entry in journal[:] for label in _given_to(entry)]
    if edits is None and needed:
        pick("edits", None, None, ", ".join(dict.fromkeys(needed)))
    found, missing = find_given([] if edits is None else edits, needed)
    if missing:
        raise unlike(record, missing)
    return found


def _given_to(entry: Entry) -> Iterable[str]:
    """Return the fingerprints of what an entry's edit was given."""
    try:
        return read_edit(entry.new).given if entry.name == EDIT else ()
    except (KeyError, TypeError, ValueError):  # a spoilt journal, of which is told elsewhere
        return ()


def _names(settings: dict[str, Any]) -> dict[str, str | None]:
    metrics = ", ".join(settings["metrics"])
    names = {"loss": settings["loss"][0], "optimizer": settings["optimizer"][0], "metrics": metrics}
    return names | {"schedule": settings["initial"].get("schedule", SCHEDULE.default)}


def held(record: Record) -> RuntimeError:
    """Return the error for a run that another process has open."""
    rule = _("shut that one down first, or branch off from there")
    return RuntimeError(_("run {id} is open in another process: {rule}.", id=record.id, rule=rule))


def unlike(record: Record, found: list[str]) -> ValueError:
    """Return the error for what a run was not made with."""
    text = "; ".join(found)
    return ValueError(_("this is not what run {id} was made with: {found}.", id=record.id, found=text))
