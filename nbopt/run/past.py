"""A run's past: going back in it, going on from it in another run, doing it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nbopt.errors import MOST, check_text
from nbopt.i18n import _
from nbopt.record.journal import EDIT
from nbopt.record.snapshots import Snapshot
from nbopt.run.again import give_up
from nbopt.run.copying import Copies
from nbopt.run.editing import prepare
from nbopt.run.ties import check_ties
from nbopt.techniques.optimizers.groups import copy_optimizer
from nbopt.techniques.schedules.choice import SCHEDULE
from nbopt.training.checkpoint import capture, recall, restore, restore_material
from nbopt.training.outside import go_to_structure
from nbopt.training.prepare import check_in_time
from nbopt.training.recovery import go_back
from nbopt.training.state import Ending, RunState

if TYPE_CHECKING:
    from nbopt.run.run import Run


def rewind(run: Run, to: int | str | Snapshot, source: str) -> None:
    """See `Run.rewind`."""
    driver = run.driver
    snapshot: Snapshot | None = None

    def go() -> None:
        nonlocal snapshot
        target = run.snapshots.find(to, run.step_count)
        snapshot = run.snapshots.before(target)
        training = driver.training
        assert training is not None
        training.hands.check()
        training.flush()
        run.changes.tune()
        recorded = driver.exactness.record()
        go_back(training, run.journal, snapshot, source, target)
        driver.exactness.expect(recorded, target)
        _catch_up(run, snapshot, target)
        training.bound = None
        driver.become(RunState.PAUSED)

    try:
        driver.at_rest(source, go)
    except Exception as error:
        try:
            driver.put_right()
        except Exception:  # again: what the steps between need is not there any more
            if snapshot is None:
                raise
            give_up(driver, snapshot)
            rule = _("steps after {step} could not be done again, and the run rests there", step=snapshot.step)
            error.add_note(f"nbopt: {rule}.")
        raise
    except BaseException:
        driver.put_right()
        raise


def branch(
    run: Run, at: int | str | Snapshot, name: str | None, edit: Any, changes: Mapping[str, Any], source: str
) -> Run:
    """See `Run.branch`."""
    with run.driver.lock:
        run.driver.put_right()
        target = run.snapshots.find(at, run.step_count)
        if target == run.step_count:
            _check_tuning(run)
        check_in_time(changes, run.hyperparams, target)
        check_text("source", source)
        snapshot = run.snapshots.before(target)
        twin = _twin(run, name or _cut(_("{name}, branch at {step}", name=run.name, step=target)))
        twin.journal.take_over(run.journal, target)
        twin.history.take_over(run.history, snapshot.step, not snapshot.facts["validation_due"])
        recorded = run.driver.exactness.record()
    _begin(twin, run, snapshot)
    twin.driver.exactness.expect(recorded, target)
    _catch_up(twin, snapshot, target)
    edits = prepare(twin, edit)
    twin.journal.event(target, "branch", run.id, source)
    twin.driver.become(RunState.PAUSED)
    for value in edits:
        twin.driver.ask({EDIT: value}, source)
    twin.set(source=source, **changes)
    return twin


def replay(run: Run) -> Run:
    """See `Run.replay`."""
    with run.driver.lock:
        run.driver.put_right()
        finished = run.state is RunState.FINISHED
        reason = run.end_reason if finished else _("replayed to step {step}", step=run.step_count)
        until = Ending(run.step_count, RunState.FINISHED if finished else RunState.STOPPED, reason)
        name = _cut(_("{name}, replay", name=run.name))
        twin = _twin(run, name, planned=run.journal.schedule(), until=until)
        recorded = run.driver.exactness.record() if run.driver.training else None
    if run.driver.training is not None:
        _begin(twin, run, run.snapshots[0])
        assert twin.driver.training is not None
        twin.driver.training.tiers.held_until = run.step_count
        if recorded is not None:
            twin.driver.exactness.expect(recorded, int(until.step))
        if run.step_count:
            twin.start()
        else:
            twin.changes.apply()
            twin.driver.become(RunState.STOPPED, reason)
    return twin


def copy_of(run: Run, name: str) -> Run:
    """Make a run that stands where this one does and leaves nothing in the store; one that trains is paused."""
    if run.state is RunState.RUNNING:
        run.pause()
    with run.driver.lock:
        run.driver.put_right()
        _check_tuning(run)
        twin = _twin(run, name, store=None)
        training = run.driver.training
        snapshot = None if training is None else capture(training)
    if snapshot is not None:
        twin.driver.events()
        assert twin.driver.training is not None
        restore(twin.driver.training, snapshot)
        _check_ties(twin, run, snapshot)
    return twin


def _cut(name: str) -> str:
    """Return the name of a run of a run of a run, no longer than a name may be."""
    return name if len(name) <= MOST else f"{name[: MOST // 2 - 1]}…{name[-MOST // 2 :]}"


def _twin(run: Run, name: str, **others: Any) -> Run:
    """Make a run like this one, on a copy of its model; ``others`` are fields of its `RunSpec`."""
    training, spec = run.driver.training, run.spec
    if training is not None:
        training.hands.check()
    own = {"model": run.model, "loss": spec.loss, "forward": spec.forward}
    columns = () if training is None else getattr(training.cursor.source, "columns", ())
    copies = Copies({**own, "optimizer": spec.own_optimizer}, columns)
    made = {key: copies.of(key) for key in own}
    optimizer = spec.optimizer
    if spec.own_optimizer is not None:
        begin = copy_optimizer if training is None else lambda _own, memo: training.groups.copy(memo)
        optimizer = copies.of("optimizer", begin)
    copies.hook()
    # The copy of an optimizer has no scheduler to look for.
    schedule = {"schedule": run.initial.get("schedule", SCHEDULE.default)}
    if training is not None:  # without what steps added to it
        go_to_structure(made["model"], training.keeper, run.snapshots[0])
    train, val = (training.cursor.source, training.val) if training else (spec.train, spec.val)
    fresh: dict[str, Any] = {"id": None, "created": None, "initial": {}, "planned": (), "until": None}
    like = {
        **{"train": train, "val": val, "optimizer": optimizer, "parent": run.id, "name": name, "store": run.store},
        **{"hyperparams": {**schedule, **spec.hyperparams}},
    }
    twin = type(run).of(replace(spec, **{**fresh, **made, **like, **others}))
    if copies.shared:
        twin.driver.tell(_("shared with the run it was copied from: {names}.", names=", ".join(copies.shared)))
    return twin


def _check_tuning(run: Run) -> None:
    """Raise RuntimeError where the user changed in this pause what trains: a copy would begin before that."""
    training = run.driver.training
    if training is not None:
        training.hands.look()
        training.hands.leave()
    change = None if training is None else training.find_tuning()
    if change is not None:
        raise RuntimeError(
            _(
                "since the last step, the model was changed by hand ({change}), and a copy would begin before that "
                "change: do a step first, run.step(), or make the change in the copy's model.",
                change=change["reason"],
            )
        )


def _begin(run: Run, other: Run, snapshot: Snapshot) -> None:
    """Put a new run to ``snapshot`` of another one."""
    first = other.snapshots[0]
    run.driver.events()
    assert run.driver.training is not None
    run.driver.training.snapshots.clear(first)
    if snapshot is not first:
        run.driver.training.snapshots.add(snapshot)
    assert other.driver.training is not None
    run.driver.training.tiers.library = other.driver.training.tiers.library
    run.driver.training.keeper.know(other.driver.training.keeper)
    restore(run.driver.training, snapshot)
    _check_ties(run, other, snapshot)


def _check_ties(twin: Run, run: Run, snapshot: Snapshot) -> None:
    """Raise `Tied` where a copy's steps would use what belongs to the original."""
    with run.driver.lock:
        assert twin.driver.training is not None and run.driver.training is not None
        check_ties(twin.driver.training, run.driver.training, at_rest=not run.driver.is_pulling)
    restore_material(twin.driver.training, snapshot)
    recall(twin.driver.training, snapshot)


def _catch_up(run: Run, snapshot: Snapshot, target: int) -> None:
    """Do the steps from ``snapshot`` to ``target`` again, with the changes journaled in between."""
    between = [operation for operation in run.journal.schedule() if snapshot.step <= operation.step < target]
    run.driver.do_again(between, target)
