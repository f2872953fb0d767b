"""Opening a stored run again: to read, or to go on exactly where it was."""

from __future__ import annotations

import warnings
from typing import Any

import torch

from nbopt.i18n import _
from nbopt.run.exactness.recorded import Recorded
from nbopt.run.making import working
from nbopt.run.population.population import Population
from nbopt.run.population.reopen import open_population
from nbopt.run.run import Run
from nbopt.run.session.registry import live_runs
from nbopt.run.stored.checked_record import check_journal, check_snapshots
from nbopt.run.stored.earlier import explain_data, explain_steps, rename
from nbopt.run.stored.remake import check_given_data, held, remake, unlike
from nbopt.store import lease
from nbopt.store.checked import spoilt
from nbopt.store.checked_facts import is_state
from nbopt.store.database import AUTO, Place, store_in
from nbopt.store.reading import Record, read
from nbopt.store.sync import SyncState
from nbopt.training.snapshots.moments import compare_groups, compare_positions
from nbopt.training.snapshots.restoring import restore
from nbopt.training.state import RunState
from nbopt.training.structure.edit import CannotEdit


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
    edits: Any = None,
    device: str | torch.device | None = None,
    store: Place = AUTO,
) -> Run | Population | Record:
    """Open a stored run, or population, again; see `nbopt.open`, which knows studies too."""
    record = read(run_id, store)
    rename(record)
    if model is None:
        return record
    if lease.is_alive(record.folder, record.owner) and not lease.is_own(record.owner):
        raise held(record)
    given = {"loss": loss, "optimizer": optimizer, "metrics": metrics, "forward": forward, "schedule": schedule}
    spec, hyperparams = remake(record, model, train, val, {**given, "techniques": techniques, "edits": edits}, device)
    if record.members:
        return open_population(record, spec, hyperparams)
    run = Run.of(spec)
    _bring_back(run, record)
    return run


def _bring_back(run: Run, record: Record) -> None:
    """Put the run to where the record ends, its journal and history continued."""
    loaded = record.load_snapshots()
    for snapshot in loaded.values():
        if not is_state(snapshot):
            raise spoilt(record.id, _("its snapshot of step {step}", step=snapshot.step))
    if loaded:
        training = run.training
        if told := explain_data(run, record.settings, training.cursor.source):
            raise unlike(record, [told])
        check_given_data(record, training.cursor.source, training.val)
        first = loaded.get("initial")
        if first is not None and (wrong := compare_groups(training, first.facts)):
            raise unlike(record, [wrong])
        for snapshot in loaded.values():
            if "moments" not in snapshot.facts and (wrong := compare_positions(training, snapshot.tensors)):
                raise unlike(record, [wrong])
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
        raise held(record)
    run.journal.load(record.journal)
    assert run.recorder is not None
    files = {kind: (loaded.get(kind), file) for kind, file in record.files.items()}
    run.recorder.take_up(store, record.id, SyncState(record.stored_history), files)
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
    training.cursor.seed = newest.facts.get("order", training.cursor.seed)  # earlier versions kept none
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


__all__ = ["open"]
