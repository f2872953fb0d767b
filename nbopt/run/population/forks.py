"""What begins where a run or a member is: another member, a copy, or a run of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from nbopt.hyperparams import Hyperparams
from nbopt.i18n import _
from nbopt.record.snapshots import Snapshot
from nbopt.run.copies.ties import check_ties
from nbopt.run.past import check_tuning, copy_parts, run_at
from nbopt.run.population.member import Member, Owner
from nbopt.run.spec import RunSpec
from nbopt.run.trained import TrainedSession
from nbopt.store.database import Place
from nbopt.techniques.schedules.choice import SCHEDULE
from nbopt.training.snapshots.checkpoint import capture
from nbopt.training.snapshots.restoring import restore
from nbopt.training.state import RunState

AnyRun = TypeVar("AnyRun", bound=TrainedSession)
Source = Any
"""A run or a member: what has a ``spec``, a ``training``, a journal and a history."""


def take(source: Source) -> Snapshot:
    """Return where a run or a member is, with all losses up to there in its history; it goes on as it would have.

    Raises
    ------
    RuntimeError
        If the user changed by hand what trains, and no step was done since.
    """

    def look() -> Snapshot:
        if isinstance(source, TrainedSession):
            check_tuning(source)
        source.stage.flush()
        return capture(source.training)

    return source.worker.between_steps(look) if isinstance(source, TrainedSession) else look()


def find_start(run: AnyRun, at: int | str | Snapshot) -> tuple[AnyRun, Snapshot]:
    """Return what members begin from, and where: the run itself, or a copy that did the steps before ``at`` again."""
    if isinstance(at, str) and at == "now":
        return run, take(run)
    target = run.snapshots.find(at, run.step_count)
    if target == run.step_count:
        return run, take(run)
    twin = run_at(run, target)
    return twin, take(twin)


def fork_member(
    source: Source, owner: Owner, number: int, snapshot: Snapshot, past: bool = True, **others: Any
) -> Member:
    """Return a member that goes on from a snapshot of ``source``; ``others`` are fields of its `RunSpec`.

    Parameters
    ----------
    past : bool
        Whether it has the journal and the history of its source.
    """
    spec = _spec_of(source, owner.tell, name=f"{owner.name}[{number}]", listed=False, store=None, **others)
    hyperparams = source.hyperparams.another() if isinstance(spec.loss, str) else spec.declare()
    _assign(hyperparams, source.initial)
    member = Member(owner, number, spec, hyperparams, source.given)
    _settle(member, source, snapshot, past)
    if not number and isinstance(source, TrainedSession):
        with source.lock:
            check_ties(member.training, source.training, at_rest=not source.worker.is_pulling)
        restore(member.training, snapshot)
    member.become(RunState.PAUSED)
    return member


def take_out(member: Member, kind: type[AnyRun], name: str | None, store: Place | None, listed: bool = True) -> AnyRun:
    """Return a run of its own that goes on from where a member is, with its journal and its past."""
    snapshot = take(member)
    made = kind.of(_spec_of(member, member.tell, name=name or member.name, store=store, listed=listed))
    _settle(made, member, snapshot)
    made.training.cursor.seed = member.training.cursor.seed
    if snapshot.step not in [one.step for one in made.snapshots]:
        made.training.snapshots.add(snapshot)
    made.snapshots.best_step = made.training.judge.best_step
    made.journal.event(snapshot.step, "branch", member.name)
    made.become(RunState.PAUSED)
    return made


def copy_run(run: AnyRun, snapshot: Snapshot) -> AnyRun:
    """Return a copy of a run that stands where it was at a snapshot, and that no list, chart or store knows."""
    made = type(run).of(_spec_of(run, run.tell, name=run.name, listed=False, store=None))
    _settle(made, run, snapshot, past=False)
    made.training.securing.is_on = False
    with run.lock:
        check_ties(made.training, run.training, at_rest=not run.worker.is_pulling)
    restore(made.training, snapshot)
    made.become(RunState.PAUSED)
    return made


def _spec_of(source: Source, tell: Callable[[str], None], **others: Any) -> RunSpec:
    made, shared = copy_parts(source)
    if shared:
        tell(_("shared with the run it was copied from: {names}.", names=", ".join(shared)))
    spec, training = source.spec, source.training
    fresh: dict[str, Any] = {"id": None, "created": None, "planned": (), "until": None, "initial": {}, "listed": True}
    schedule = {"schedule": source.initial.get(SCHEDULE.name, SCHEDULE.default)}
    like = {"train": training.cursor.source, "val": training.val, "hyperparams": {**schedule, **spec.hyperparams}}
    found: RunSpec = replace(spec, **{**fresh, **made, **like, "parent": source.id, **others})
    return found


def _assign(hyperparams: Hyperparams, values: Any) -> None:
    for name, value in values.items():
        hyperparams.assign(name, value)


def _settle(made: Source, source: Source, snapshot: Snapshot, past: bool = True) -> None:
    """Put what was made to where its source was, and give it the same past."""
    training = made.training
    training.snapshots.clear(source.snapshots[0])
    training.keeper.know(source.training.keeper)
    if past:
        made.journal.take_over(source.journal, snapshot.step + 1)
        made.history.take_over(source.history, snapshot.step, not snapshot.facts["validation_due"])
    restore(training, snapshot)
