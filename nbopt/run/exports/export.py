"""What a run tells its exports, and a run made from a recipe."""

from __future__ import annotations

from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from nbopt.data.sources import StreamSource, as_source
from nbopt.data.split import class_labels
from nbopt.errors import InvalidHyperparam, unknown
from nbopt.export import recipe
from nbopt.export.script.optimizer import groups_at
from nbopt.export.summary import RunSummary, by_step, initial_values, operations, until_finished
from nbopt.hyperparams import Choice, Hyperparams, Int
from nbopt.i18n import _
from nbopt.record.journal import ACTIONS, EDIT, SWITCH, TUNING, Operation
from nbopt.run.editing import find_given
from nbopt.run.exports.edited import read_planned, tell_edits, tell_planned
from nbopt.run.spec import RunSpec
from nbopt.run.trained import TrainedSession
from nbopt.techniques.catalogue import find_proposing, known_of, may_end, of_models
from nbopt.techniques.losses.choice import LOSSES
from nbopt.techniques.losses.traits import read_traits
from nbopt.techniques.metrics.by_output import read_metrics
from nbopt.techniques.metrics.choice import METRICS, find_metric
from nbopt.techniques.metrics.reading import Reading
from nbopt.techniques.optimizers.groups import Groups, has_hooks
from nbopt.techniques.optimizers.standard import OPTIMIZERS
from nbopt.techniques.plan import Plan
from nbopt.techniques.schedules.choice import SCHEDULES
from nbopt.training import prepare
from nbopt.training.snapshots.moments import remembers
from nbopt.training.state import Ending, RunState

SOURCE = "recipe"
_ARGUMENTS = ("loss", "optimizer", "metrics", "techniques", "forward", "schedule", "device", "name", "store", "edits")

AnyRun = TypeVar("AnyRun", bound=TrainedSession)


def tell(run: TrainedSession, *, decided_again: bool = False) -> RunSummary:
    """Gather the story of ``run`` up to where it is.

    Parameters
    ----------
    run : TrainedSession
    decided_again : bool
        Whether techniques that ask for changes by themselves will do so again: then theirs are left out.

    Raises
    ------
    TypeError, ValueError
        For data that a run which has not started cannot use; where the user changed in a pause which weights train.
    """
    spec = run.spec
    left_out = find_proposing(run.techniques) if decided_again else set()
    with run.lock:
        run.worker.put_right()
        training = run.training if run.has_begun else None
        done = run.step_count
        finished = run.state is RunState.FINISHED
        effective = run.journal.effective()
        entries = until_finished(run.journal) if finished else effective
        start = initial_values(run.hyperparams, effective)
        told = {id(entry) for entry in entries}
        steps = [
            op
            for op, entry in zip(run.journal.schedule(), effective, strict=True)
            if id(entry) in told and op.name not in (SWITCH, TUNING, EDIT) and op.source not in left_out
        ]
        planned: list[Operation] = []
        if training is None:
            planned = [*run.changes.planned]
            steps += [operation for operation in planned if operation.name not in (SWITCH, TUNING, EDIT)]
        edits = [entry for entry in entries if entry.name == EDIT]
        tuned = next((entry for entry in entries if entry.name == TUNING), None)
    if tuned is not None:
        raise ValueError(
            _(
                "in step {step} the model itself was changed by hand ({change}), which no export holds{rest}.",
                step=tuned.step,
                change=tuned.new["reason"],
                rest="" if tuned.new.get("touched") else _(": replay does"),
            )
        )
    schedule = by_step(steps)
    first = schedule.pop(0, {})
    start.update({name: value for name, value in first.items() if name not in ACTIONS})
    at = [entry.step for entry in edits] + [operation.step for operation in planned if operation.name == EDIT]
    schedule = dict(sorted({**{step: {} for step in at}, **schedule}.items()))

    values = dict(start)
    for changes in schedule.values():
        values.update({name: value for name, value in changes.items() if name not in ACTIONS})
    acted = any(changes.keys() & {"restore_best", "reopen"} for changes in schedule.values())
    own_end, early = training is None, False
    if training is not None and finished:
        complete = Plan.of(values).is_over(done, run.epoch)
        early = bool(training.acting.find_end(values))
        own_end = complete or early
        early = early and not complete
    elif training is None:
        early = may_end(known_of(run.techniques), set(run.inert), [start, *schedule.values()])

    if training is not None:
        train, val = training.cursor.source, training.val
    else:
        train, val = spec.make_sources(torch.device("cpu"), run.hyperparams["batch_size"])
    snapshots = run.snapshots
    model, own, edited = (run.model, spec.own_optimizer, tell_planned(planned)) if not edits else tell_edits(run, edits)
    return RunSummary(
        name=run.name,
        seed=run.seed,
        model=model,
        hyperparams=run.hyperparams,
        start=start,
        schedule=schedule,
        inert=set(run.inert),
        untouched=of_models(run.techniques) - spec.hyperparams.keys() - first.keys(),
        steps=None if own_end else done,
        done=done,
        val_loss=run.history.last("val_loss"),
        stops_early=acted or early,
        train=train,
        val=val,
        wrapped=any(isinstance(data, Dataset | DataLoader) for data in (spec.origin, spec.val)),
        share=spec.val_fraction,
        stratified=spec.val_fraction is not None and _has_classes(spec.origin, spec.val_fraction),
        loss=spec.loss,
        optimizer=spec.optimizer,
        learns=any(name.startswith("loss") for name in run.material.parameters if name not in run.material.resting),
        adopted=spec.own_optimizer if "optimizer" not in first else None,
        groups=groups_at(
            Groups(instance=own) if training is None or edits else training.groups,
            run.hyperparams.spec("optimizer").classes[start["optimizer"]],  # type: ignore[attr-defined]
            start,
        ),
        experienced=bool(snapshots) and remembers(snapshots[0]),
        hooked=has_hooks(spec.own_optimizer if training is None else training.torch_optimizer),
        techniques=run.techniques,
        metrics=run.metrics,
        unread=training.measuring.unusual if training else Reading(read_traits(spec.loss)).unusual,
        forward=spec.forward,
        needs_graph=training is not None and training.pass_.needs_graph,
        evaluated=training is not None and any(name.startswith("model.") for name in training.material.evaluated),
        edits=edited,
        split={} if training is None else training.eager.split.state,
    )


def _has_classes(train: Any, fraction: float) -> bool:
    source = as_source(train, "train")
    return not isinstance(source, StreamSource) and class_labels(source, fraction) is not None


def from_yaml(
    cls: type[AnyRun], text_or_path: str | Path, model: Any, train: Any, val: Any, given: dict[str, Any]
) -> AnyRun:
    """See `Run.from_yaml`."""
    for name in given:
        if name not in _ARGUMENTS:
            raise unknown(_("argument"), name, _ARGUMENTS)
    read = recipe.read(text_or_path)
    spec, hyperparams = _specify(read, model, train, val, given)
    edits = read_planned(read.schedule, spec.given)
    schedule = {
        step: recipe.check_values(_("schedule, step {step}", step=step), changes, hyperparams)
        for step, changes in read.schedule.items()
    }
    for step, changes in schedule.items():
        prepare.check_in_time(changes, hyperparams, step)
    if ahead := next((name for name in ACTIONS if name in schedule.get(0, {})), None):
        raise InvalidHyperparam(_("schedule, step 0: there is nothing yet that {name} could act on.", name=ahead))
    # A swap may lead to an optimizer of the user's own, which the run was therefore made with.
    first, choice = read.settings.get("optimizer"), hyperparams.spec("optimizer")
    if isinstance(choice, Choice) and first in choice.options and first != hyperparams["optimizer"]:
        schedule[0] = {"optimizer": first, **schedule.get(0, {})}
    prepare.check_planned(hyperparams, {}, schedule)
    planned = sorted([*edits, *operations(schedule, SOURCE)], key=attrgetter("step"))
    return cls.of(replace(spec, planned=planned, until=_ending(read)))


def _ending(read: recipe.Recipe) -> Ending | None:
    if "steps" not in read.settings:
        return None
    count = Int(1, low=1, high=1, ge=1)
    count.name = "steps"
    steps = count.check(read.settings["steps"])
    return Ending(steps, RunState.STOPPED, _("the recipe's {steps} steps done", steps=steps))


def _specify(
    read: recipe.Recipe, model: Any, train: Any, val: Any, given: dict[str, Any]
) -> tuple[RunSpec, Hyperparams]:
    """Return what a recipe's run is made with, and the hyperparameters that it will have."""
    settings = read.settings
    if val is None and (val := settings.get("val")) is not None and not isinstance(val, float):
        raise ValueError(_("the recipe's val must be a fraction between 0 and 1; got {value!r}.", value=val))
    if settings.get("forward") is not None and given.get("forward") is None:
        name = settings["forward"]
        raise ValueError(_("the recipe uses a forward of your own, {name}: give it as forward=...", name=name))
    others = {name: given[name] for name in ("techniques", "forward", "device", "name", "store") if name in given}
    hyperparameters = {**read.hyperparameters}
    if "schedule" in given and hyperparameters.get("schedule") not in SCHEDULES:
        hyperparameters["schedule"] = given["schedule"]
    loss = given.get("loss") or _loss(settings.get("loss", "cross_entropy"))
    spec = RunSpec(
        model,
        train,
        val,
        loss,
        optimizer=given.get("optimizer") or _optimizer(settings.get("optimizer", "adam")),
        metrics=_metrics(settings.get("metrics"), read_metrics(given.get("metrics"), loss), loss),
        seed=settings.get("seed", 0),
        hyperparams=hyperparameters,
        given=find_given(given.get("edits", []), ())[0],
        **others,
    )
    try:
        spec = spec.checked()
        hyperparams = spec.declare()
        return spec.settled(hyperparams), hyperparams
    except InvalidHyperparam as error:
        raise InvalidHyperparam(_("the recipe: {error}", error=error)) from error


def _loss(name: Any) -> Any:
    if isinstance(name, dict):
        return {key: _loss(own) for key, own in name.items()}
    if not isinstance(name, str) or name not in LOSSES:
        raise unknown(_("loss"), name, [*LOSSES, _("your own, given as loss=...")])
    return name


def _optimizer(name: Any) -> Any:
    known = getattr(torch.optim, name, None) if isinstance(name, str) else None
    if isinstance(known, type) and issubclass(known, torch.optim.Optimizer):
        return known
    if not isinstance(name, str) or name not in OPTIMIZERS:
        raise unknown(_("optimizer"), name, [*OPTIMIZERS, _("your own, given as optimizer=...")])
    return name


def _metrics(names: Any, own: dict[str, Any], loss: Any) -> dict[str, Any]:
    if names is None:
        return own
    if isinstance(names, dict) and not all(isinstance(item, str) for item in names.values()):
        return {**read_metrics(names, loss), **own}
    if not isinstance(names, dict):
        items = names if isinstance(names, list) else [names]
        names = {str(item): item for item in items}
    found: dict[str, Any] = {}
    for name, stands_for in names.items():
        metric = own.get(name) or (find_metric(stands_for) if isinstance(stands_for, str) else None)
        if metric is None:
            raise unknown(_("metric"), stands_for, [*METRICS, _("your own, given as metrics=...")])
        found[name] = metric
    return {**found, **own}
