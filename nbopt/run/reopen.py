"""Opening a stored run again: to read, or to go on exactly where it was."""

from __future__ import annotations

import warnings
from dataclasses import replace
from inspect import signature
from typing import Any

import torch

from nbopt.i18n import _
from nbopt.run.checked_record import check_journal, check_snapshots, check_values
from nbopt.run.declared import find_loss
from nbopt.run.earlier import explain_data, explain_steps, known_only, rename
from nbopt.run.fingerprint import (
    compare_frozen,
    describe_data,
    describe_model,
    describe_spec,
    differences,
    find_frozen,
    pick,
)
from nbopt.run.making import working
from nbopt.run.recorded import Recorded
from nbopt.run.registry import live_runs
from nbopt.run.run import Run
from nbopt.run.spec import RunSpec
from nbopt.store import lease
from nbopt.store.checked import spoilt
from nbopt.store.checked_facts import is_state
from nbopt.store.database import AUTO, Place, store_in
from nbopt.store.reading import Record, read
from nbopt.techniques.losses.by_output import read_label
from nbopt.techniques.metrics.by_output import read_labels
from nbopt.techniques.schedules.choice import SCHEDULE, SCHEDULES
from nbopt.training.device import if_here
from nbopt.training.edit_base import CannotEdit
from nbopt.training.moments import compare_groups, compare_positions
from nbopt.training.restoring import restore
from nbopt.training.state import RunState

_ARGUMENTS = frozenset(signature(Run).parameters)  # no names of hyperparameters


def open(  # noqa: A001
    run_id: str,
    model: torch.nn.Module | None = None,
    train: Any = None,
    val: Any = None,
    loss: Any = None,
    *,
    forward: Any = None,
    optimizer: Any = None,
    metrics: Any = None,
    techniques: Any = None,
    schedule: Any = None,
    device: str | torch.device | None = None,
    store: Place = AUTO,
) -> Run | Record:
    """Open a stored run again.

    Without a model: its record, to read. With the model and data it was made with: the run itself, under the same id,
    at rest exactly where it was. Going on, it ends where it would have ended unbroken: on the CPU, with the same
    number of threads, bit for bit.

    Parameters
    ----------
    run_id : str
        As `nbopt.runs` lists it, or as much of the beginning as no other run shares.
    model, train, val
        As given to `Run`; the weights of the model are replaced by the stored ones. ``val`` is not needed where it was
        a share of ``train``.
    loss, forward, optimizer, metrics, techniques, schedule
        As given to `Run`. Only functions, classes and instances of yours are needed; names are stored.
    device : str or torch.device, optional
        By default the one it was on, or the best there is.
    store : str or path
        The store's folder; by default ``NBOPT_HOME``, else ``.nbopt`` in the working directory.

    Returns
    -------
    Record or Run

    Raises
    ------
    InvalidHyperparam
        If the store holds no such run.
    ValueError
        If model, data, loss, optimizer or metrics are not those it was made with; the message names what differs.
    nbopt.store.schema.StoreError
        If the run is spoilt, or the store cannot be read.
    RuntimeError
        If the run is open in another process, or running in this one.

    Examples
    --------
    >>> model = torch.nn.Linear(4, 3)
    >>> first = nbopt.Run(model, (X, X[:, :3]), loss="mse", epochs=2).fit()
    >>> record = nbopt.open(first.id)
    >>> record.state, record.step, record.hyperparams["lr"]
    ('finished', 2, 0.001)
    >>> again = nbopt.open(first.id, torch.nn.Linear(4, 3), (X, X[:, :3]))
    >>> again.set(epochs=4)
    >>> again.fit().step_count
    4
    """
    record = read(run_id, store)
    rename(record)
    if model is None:
        return record
    if lease.is_alive(record.folder, record.owner) and not lease.is_own(record.owner):
        raise _held(record)
    if missing := differences(record.settings["model"], describe_model(model), _("model")):
        raise _unlike(record, missing)
    frozen = [name for name in record.settings.get("frozen", find_frozen(model)) if name.startswith("model.")]
    if found := compare_frozen(frozen, find_frozen(model)):
        raise _unlike(record, found)
    run = _make_again(
        record,
        model,
        train,
        record.settings["val_fraction"] if val is None else val,
        {
            "loss": loss,
            "optimizer": optimizer,
            "metrics": metrics,
            "forward": forward,
            "schedule": schedule,
            "techniques": techniques,
        },
        device,
    )
    _bring_back(run, record)
    return run


def _make_again(record: Record, model: torch.nn.Module, train: Any, val: Any, own: dict[str, Any], device: Any) -> Run:
    """Make the run as it was made."""
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
    schedule, label = own.pop("schedule"), settings["initial"].get("schedule")
    named = {}
    if isinstance(label, str) and label not in SCHEDULES:
        named["schedule"] = pick("schedule", schedule, None, label)
    spec = RunSpec(
        model,
        train,
        val,
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
        raise _unlike(record, found)
    initial = known_only(settings, settings["initial"], hyperparams)
    return Run.of(replace(spec, initial=check_values(record, hyperparams, initial, _("what it was made with"))))


def _given(record: Record) -> dict[str, Any]:
    """Return the hyperparameters that the run was given; `Run` checks their values."""
    reserved = {name for name in record.settings["given"] if name in _ARGUMENTS}
    if reserved:
        raise spoilt(record.id, _("what it was made with"))
    return {name: record.settings["initial"][name] for name in record.settings["given"]}


def _names(settings: dict[str, Any]) -> dict[str, str | None]:
    metrics = ", ".join(settings["metrics"])
    names = {"loss": settings["loss"][0], "optimizer": settings["optimizer"][0], "metrics": metrics}
    return names | {"schedule": settings["initial"].get("schedule", SCHEDULE.default)}


def _bring_back(run: Run, record: Record) -> None:
    """Put the run to where the record ends, its journal and history continued."""
    loaded = record.load_snapshots()
    for snapshot in loaded.values():
        if not is_state(snapshot):
            raise spoilt(record.id, _("its snapshot of step {step}", step=snapshot.step))
    if loaded:
        training = run.training
        if told := explain_data(run, record.settings, training.cursor.source):
            raise _unlike(record, [told])
        if record.settings["data"] is not None:
            data = describe_data(training.cursor.source, training.val)
            if found := differences(record.settings["data"], data, _("data")):
                raise _unlike(record, found)
        first = loaded.get("initial")
        if first is not None and (held := compare_groups(training, first.facts)):
            raise _unlike(record, [held])
        for snapshot in loaded.values():
            if "moments" not in snapshot.facts and (held := compare_positions(training, snapshot.tensors)):
                raise _unlike(record, [held])
    operations = check_journal(record, run.hyperparams)
    check_snapshots(record, run.hyperparams, loaded.values(), operations)
    if loaded:
        changed = {operation.name for operation in operations}
        if told := explain_steps(run, record.settings, training.cursor.source, changed):
            warnings.warn(told, stacklevel=3)
    end = record.end
    store = store_in(record.folder)
    _release_others(run, record)
    if not store.claim(record.id, record.owner):
        raise _held(record)
    run.journal.load(record.journal)
    assert run.recorder is not None
    files = {kind: (loaded.get(kind), file) for kind, file in record.files.items()}
    run.recorder.take_up(store, record.id, record.stored_history, files)
    if not loaded:
        run.changes.plan(operations, journaled=True)
        run.changes.apply()
        run.recorder.follow()
        return
    # Of two at one step, the one after the validation goes further.
    snapshots = sorted(loaded.values(), key=lambda snapshot: (snapshot.step, not snapshot.facts["validation_due"]))
    training.snapshots.clear(snapshots[0])
    for snapshot in snapshots[1:]:
        if snapshot is not snapshots[0]:
            training.snapshots.add(snapshot, best=snapshot is loaded.get("best"))
    newest = snapshots[-1]
    run.history.take_over(record.history, newest.step, validated=not newest.facts["validation_due"])
    try:
        restore(training, newest)
    except Exception as error:  # whatever torch makes of a state that is none
        raise spoilt(record.id, _("its snapshot of step {step}", step=newest.step)) from error
    later = [operation for operation in operations if operation.step >= newest.step]
    run.worker.exactness.expect(Recorded.of(record.history, record.journal, record.settings), end)
    try:
        with working(run, _("Opening")) as work:
            run.worker.loop.do_again(later, end, work)  # the changes made where it ended included
    except CannotEdit as error:
        raise spoilt(record.id, _("its journal at step {step}", step=run.step_count)) from error
    run.changes.cancel()
    finished = record.state == "finished"
    state = RunState.FINISHED if finished else RunState.PAUSED
    run.journal.event(run.step_count, "open", state.value)
    run.become(state)
    run.end_reason = record.reason if finished else ""
    run.recorder.follow()


def _release_others(opened: Run, record: Record) -> None:
    """See that no other object of this process goes on storing this run."""
    for run in live_runs():
        if run is not opened and run.id == record.id and run.recorder is not None and run.store == record.folder:
            if isinstance(run, Run) and run.worker.is_pulling:
                rule = _("pause it before you open it again")
                raise RuntimeError(_("run {id} is running in this process: {rule}.", id=run.id, rule=rule))
            run.recorder.release(_("opened again with nbopt.open: from here on, that one is stored instead"))


def _held(record: Record) -> RuntimeError:
    rule = _("shut that one down first, or branch off from there")
    return RuntimeError(_("run {id} is open in another process: {rule}.", id=record.id, rule=rule))


def _unlike(record: Record, found: list[str]) -> ValueError:
    text = "; ".join(found)
    return ValueError(_("this is not what run {id} was made with: {found}.", id=record.id, found=text))


__all__ = ["open"]
