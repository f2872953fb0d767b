"""A run's past: going back in it, going on from it in another run, doing it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from nbopt.errors import MOST, check_text
from nbopt.i18n import _
from nbopt.record.journal import EDIT, SWITCH, Operation
from nbopt.record.snapshots import Snapshot
from nbopt.run.copies.copying import Copies
from nbopt.run.copies.ties import check_hooks, check_ties
from nbopt.run.editing import Rehearsed, prepare
from nbopt.run.making import working
from nbopt.run.trained import TrainedSession
from nbopt.techniques.optimizers.groups import copy_optimizer
from nbopt.techniques.schedules.choice import SCHEDULE
from nbopt.training.prepare import check_in_time
from nbopt.training.snapshots.checkpoint import capture
from nbopt.training.snapshots.outside import go_to_structure
from nbopt.training.snapshots.recovery import go_back
from nbopt.training.snapshots.restoring import recall, restore, restore_material
from nbopt.training.state import Ending, RunState
from nbopt.training.structure.edits import check_edit, rehearse
from nbopt.training.structure.structure import undo_all

AnyRun = TypeVar("AnyRun", bound=TrainedSession)


def rewind(run: TrainedSession, to: int | str | Snapshot, source: str) -> None:
    """See `Run.rewind`."""
    worker = run.worker
    snapshot: Snapshot | None = None

    def go() -> None:
        nonlocal snapshot
        target = run.snapshots.find(to, run.step_count)
        snapshot = run.snapshots.before(target)
        training = run.training
        training.hands.check()
        training.flush()
        run.changes.tune()
        recorded = worker.exactness.record()
        go_back(training, run.journal, snapshot, source, target)
        worker.exactness.expect(recorded, target)
        with working(run, _("Going back"), source) as work:
            worker.loop.catch_up(snapshot, target, work)
        training.bound = None
        run.become(RunState.PAUSED)

    try:
        worker.at_rest(source, go)
    except Exception as error:
        try:
            worker.put_right()
        except Exception:  # again: what the steps between need is not there any more
            if snapshot is None:
                raise
            worker.loop.give_up(snapshot)
            rule = _("steps after {step} could not be done again, and the run rests there", step=snapshot.step)
            error.add_note(f"nbopt: {rule}.")
        raise
    except BaseException:
        worker.put_right()
        raise


def branch(
    run: AnyRun,
    at: int | str | Snapshot,
    name: str | None,
    edit: Any,
    changes: Mapping[str, Any],
    source: str,
    now: bool = False,
) -> AnyRun:
    """See `Run.branch`; ``now`` is with the changes that were made at that very step."""
    with run.lock:
        run.worker.put_right()
        target = run.snapshots.find(at, run.step_count)
        if target == run.step_count:
            check_tuning(run)
        check_in_time(changes, run.hyperparams, target)
        check_text("source", source)
        snapshot = run.snapshots.before(target)
        twin = _twin(run, name or _cut(_("{name}, branch at {step}", name=run.name, step=target)))
        twin.journal.take_over(run.journal, target)
        twin.history.take_over(run.history, snapshot.step, not snapshot.facts["validation_due"])
        recorded = run.worker.exactness.record()
        made = _made_at(run, target) if now else []
    _begin(twin, run, snapshot)
    twin.worker.exactness.expect(recorded, target)
    with working(run, _("Branching off"), source) as work:
        twin.worker.loop.catch_up(snapshot, target, work)
    _make(twin, made)
    edits = prepare(twin, edit)
    twin.journal.event(twin.step_count, "branch", run.id, source)  # before the target, where somebody stopped it
    twin.become(RunState.PAUSED)
    for value in edits:
        twin.worker.ask({EDIT: value}, source)
    twin.set(source=source, **changes)
    twin.speed = run.speed
    return twin


def change(run: AnyRun, edit: Any, name: str | None, changes: Mapping[str, Any], source: str) -> AnyRun:
    """See `Run.change`."""
    check_edit(edit)
    if not run.snapshots:
        run.events()  # which begins it, and takes the first
    if not changes:
        return branch(run, run.step_count, name, edit, {}, source, now=True)
    trial = run_at(
        run, run.step_count, now=True
    )  # in which it is made for real: what acts now, as pruning, may be turned off

    def make(value: dict[str, Any]) -> None:
        trial.worker.ask({EDIT: value}, source)
        trial.set(**changes)

    found = Rehearsed(rehearse(trial.training, edit, trial.training.around(), make), trial.training.given)
    return branch(run, trial.step_count, name, found, changes, source, now=True)


def run_at(run: AnyRun, target: int, now: bool = False) -> AnyRun:
    """Make a run that stands where this one was after ``target`` steps, and that no list, chart or store knows."""
    with run.lock:
        run.worker.put_right()
        snapshot = run.snapshots.before(target)
        twin = _twin(run, run.name, store=None, listed=False)
        twin.journal.take_over(run.journal, target)
        twin.history.take_over(run.history, snapshot.step, not snapshot.facts["validation_due"])
        made = _made_at(run, target) if now else []
    _begin(twin, run, snapshot)
    twin.worker.loop.catch_up(snapshot, target)
    _make(twin, made)
    twin.become(RunState.PAUSED)
    return twin


def _made_at(run: TrainedSession, step: int) -> list[Operation]:
    """Return what was changed at a step, of which a branch from there knows nothing otherwise."""
    return [operation for operation in run.journal.schedule() if operation.step == step and operation.name != SWITCH]


def _make(twin: TrainedSession, operations: Sequence[Operation]) -> None:
    if operations and twin.step_count == operations[0].step:  # else somebody stopped it on the way
        with twin.stage.at_rest():
            for operation in operations:
                twin.changes.make({operation.name: operation.value}, operation.source)


def replay(run: AnyRun) -> AnyRun:
    """See `Run.replay`."""
    with run.lock:
        run.worker.put_right()
        finished = run.state is RunState.FINISHED
        reason = run.end_reason if finished else _("replayed to step {step}", step=run.step_count)
        until = Ending(run.step_count, RunState.FINISHED if finished else RunState.STOPPED, reason)
        name = _cut(_("{name}, replay", name=run.name))
        twin = _twin(run, name, planned=run.journal.schedule(), until=until)
        recorded = run.worker.exactness.record() if run.has_begun else None
        tuning = _tuning(run)
    if tuning:
        twin.tell(
            _(
                "after its last step, {name} was changed by hand ({change}): its replay ends before that.",
                name=run.name,
                change=tuning,
            )
        )
    if recorded is not None:
        _begin(twin, run, run.snapshots[0])
        twin.training.tiers.held_until = run.step_count
        twin.worker.exactness.expect(recorded, int(until.step))
        if run.step_count:
            twin.start()
        else:
            twin.changes.apply()
            twin.become(RunState.STOPPED, reason)
    return twin


def copy_of(run: AnyRun, name: str) -> AnyRun:
    """Make a run that stands where this one does and that no list, chart or store knows; one that trains is paused."""
    if run.state is RunState.RUNNING:
        run.pause()
    with run.lock:
        run.worker.put_right()
        check_tuning(run)
        twin = _twin(run, name, store=None, listed=False)
        snapshot = capture(run.training) if run.has_begun else None
    if snapshot is not None:
        restore(twin.training, snapshot)
        _check_ties(twin, run, snapshot)
    return twin


def _cut(name: str) -> str:
    """Return the name of a run of a run of a run, no longer than a name may be."""
    return name if len(name) <= MOST else f"{name[: MOST // 2 - 1]}…{name[-MOST // 2 :]}"


def copy_parts(run: TrainedSession) -> tuple[dict[str, Any], list[str]]:
    """Return copies of model, loss, forward and optimizer, as the run was made with them, and what they share.

    Of a run that trains they are taken between two steps: within one, modules hold hooks and weights of that pass.
    """
    worker = getattr(run, "worker", None)  # a member has none, and is asked between two steps
    return _copy(run) if worker is None or not run.has_begun else worker.between_steps(partial(_copy, run))


def _copy(run: TrainedSession) -> tuple[dict[str, Any], list[str]]:
    training, spec = run.training if run.has_begun else None, run.spec
    if training is not None:
        training.hands.check()
    check_hooks(spec)
    own = {"model": run.model, "loss": spec.loss, "forward": spec.forward}
    columns = () if training is None else getattr(training.cursor.source, "columns", ())
    undoing = [] if training is None else training.undoing
    copies = Copies({**own, "optimizer": spec.own_optimizer, "edits": undoing}, columns)
    made = {key: copies.of(key) for key in own}
    made["given"] = dict(spec.given if training is None else training.given)
    made["optimizer"] = spec.optimizer
    if spec.own_optimizer is not None:
        begin = copy_optimizer if training is None else lambda _own, memo: training.groups.copy(memo)
        made["optimizer"] = copies.of("optimizer", begin)
    undo_all(copies.of("edits"), made["optimizer"] if spec.own_optimizer is not None else None)
    copies.hook()
    if training is not None:  # without what steps added to it
        go_to_structure(made["model"], training.keeper, run.snapshots[0])
    return made, copies.shared


def _twin(run: AnyRun, name: str, **others: Any) -> AnyRun:
    """Make a run like this one, on a copy of its model; ``others`` are fields of its `RunSpec`."""
    training, spec = run.training if run.has_begun else None, run.spec
    made, shared = copy_parts(run)
    # The copy of an optimizer has no scheduler to look for.
    schedule = {"schedule": run.initial.get("schedule", SCHEDULE.default)}
    train, val = (training.cursor.source, training.val) if training else (spec.train, spec.val)
    fresh: dict[str, Any] = {"id": None, "created": None, "initial": {}, "planned": (), "until": None, "listed": True}
    like = {
        **{"train": train, "val": val, "parent": run.id, "name": name, "store": run.store},
        **{"hyperparams": {**schedule, **spec.hyperparams}},
    }
    twin = type(run).of(replace(spec, **{**fresh, **made, **like, **others}))
    if shared:
        twin.tell(_("shared with the run it was copied from: {names}.", names=", ".join(shared)))
    return twin


def check_tuning(run: TrainedSession) -> None:
    """Raise RuntimeError where the user changed in this pause what trains: a copy would begin before that."""
    if change := _tuning(run):
        raise RuntimeError(
            _(
                "since the last step, the model was changed by hand ({change}), and a copy would begin before that "
                "change: do a step first, run.step(), or make the change in the copy's model.",
                change=change,
            )
        )


def _tuning(run: TrainedSession) -> str:
    """Return what the user changed in this pause of what trains; empty if nothing."""
    if not run.has_begun:
        return ""
    if not run.worker.is_pulling:  # else the run itself looks
        run.training.hands.look()
        run.training.hands.leave()
    change, names = run.training.find_tuning(), ", ".join(run.training.resettled)
    if change:
        return str(change["reason"])
    return _("settings of the optimizer: {names}", names=names) if names else ""


def _begin(run: TrainedSession, other: TrainedSession, snapshot: Snapshot) -> None:
    """Put a new run to ``snapshot`` of another one."""
    first, training = other.snapshots[0], run.training
    training.snapshots.clear(first)
    if snapshot is not first:
        training.snapshots.add(snapshot)
    training.tiers.library = other.training.tiers.library
    training.keeper.know(other.training.keeper)
    training.cursor.seed = other.training.cursor.seed  # of a population whose members saw the same batches
    restore(training, snapshot)
    _check_ties(run, other, snapshot)


def _check_ties(twin: TrainedSession, run: TrainedSession, snapshot: Snapshot) -> None:
    """Raise `Tied` where a copy's steps would use what belongs to the original."""
    training = twin.training
    with run.lock:
        check_ties(training, run.training, at_rest=not run.worker.is_pulling)
    restore_material(training, snapshot)
    recall(training, snapshot)
