"""The training of a run, made at its first event from what the run was given."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

from nbopt.i18n import _
from nbopt.objects.reaching import reach
from nbopt.record.history import History
from nbopt.run.declared import find_unfit
from nbopt.run.session import registry
from nbopt.run.session.session import Session
from nbopt.run.session.work import Work, follow_on_terminal
from nbopt.run.spec import RunSpec
from nbopt.techniques.catalogue import find_modules, find_several
from nbopt.techniques.metrics.choice import Metric
from nbopt.torch_private import MISSING
from nbopt.training.device import pick_device
from nbopt.training.material import Material
from nbopt.training.prepare import load_ahead
from nbopt.training.state import RunState
from nbopt.training.training import Training

AnyTraining = TypeVar("AnyTraining", bound=Training)


def make_history(measures: Iterable[str], own: Iterable[str], terms: Iterable[str], is_validated: bool) -> History:
    """Return an empty history that knows what there will be in it.

    Parameters
    ----------
    measures : iterable of str
        What is measured in training and, if the run ``is_validated``, in validations.
    own, terms : iterable of str
        What techniques measure in a step, and what the loss does.
    """
    history = History()
    history.in_steps |= {*terms, *own}
    history.expected = frozenset([*own, *measures, *(f"val_{name}" for name in measures if is_validated)])
    return history


def make_training(
    session: Session,
    spec: RunSpec,
    material: Material,
    metrics: dict[str, Metric],
    initial: Mapping[str, Any],
    kind: type[AnyTraining] = Training,  # type: ignore[assignment]
) -> AnyTraining:
    """Return what a run trains with, at its beginning; note in ``session.inert`` what the data show cannot act.

    Parameters
    ----------
    session : Session
    spec : RunSpec
        As `RunSpec.checked` returns it.
    material : Material
    metrics : dict of str to Metric
    initial : mapping of str to object
        The hyperparameters' values before any change.
    kind : type
        Of the training.

    Raises
    ------
    TypeError, ValueError
        For data that the run cannot use.
    """
    load_ahead()
    device, hyperparams = pick_device(spec.device).torch, session.hyperparams
    for module in (spec.model, *material.others.values(), *find_modules(spec.techniques)):
        module.to(device)
    train, val = spec.make_sources(device, hyperparams["batch_size"])
    brought, untouched = find_several(spec.model, spec.techniques) - spec.hyperparams.keys(), session.stage.several
    training = kind(
        train,
        val,
        hyperparams,
        session.history,
        metrics,
        material,
        spec.forward,
        spec.own_optimizer,
        spec.seed,
        device,
        spec.techniques,
    )
    training.given.update(spec.given)
    training.around = partial(_reach, spec)
    # The first snapshot is of what there was before the changes made ahead of the start.
    changed = {name for name, value in hyperparams.items() if value != initial[name]}
    training.acting.settle(initial, changed, initial.keys() - brought)
    training.securing.take()
    training.snapshots[0].facts.update(hyperparams=initial)
    if acting := changed | brought - untouched:
        training.acting.settle(hyperparams, changed, acting)
    if MISSING:
        session.tell(
            _(
                "this version of torch has no {names}: results are the same, but steps may be slower, fewer can be "
                "compiled, and a copy of the model may not be checked for what it shares with the original.",
                names=", ".join(MISSING),
            )
        )
    if spec.listed:
        _tell_of_sharing(session, material)
    session.inert.update(find_unfit(training, spec.train))
    for name in sorted(training.acting.unfit.keys() & spec.hyperparams.keys()):
        warnings.warn(f"{name}: {session.inert[name]}", stacklevel=3)
    return training


def _reach(spec: RunSpec) -> Iterator[tuple[str, Any]]:
    return reach({"model": spec.model, "loss": spec.loss, "forward": spec.forward, "optimizer": spec.optimizer})


def _tell_of_sharing(session: Session, material: Material) -> None:
    """Say so where another run that is on its way trains weights of this one's."""
    weights = {id(weight) for weight in material.parameters.values()}
    for other in registry.live_runs():
        if other is session or other.state not in (RunState.RUNNING, RunState.PAUSED) or other.material is None:
            continue
        if not weights.isdisjoint(id(weight) for weight in other.material.parameters.values()):
            is_training = other.state is RunState.RUNNING
            session.caution = _(
                "the run {name} {state} trains weights of the same model: each changes what the other one learns, and "
                "neither can be done again exactly. Give each run a model of its own, such as copy.deepcopy(model).",
                name=other.name,
                state=_("(training now)") if is_training else _("(paused at step {step:,})", step=other.step_count),
            )
            session.tell(session.caution)
            return


def working(session: Session, what: str, source: str = "code") -> Work:
    """Return work that this thread does for somebody who waits, told where they look."""
    viewer = type(session).viewer
    follow = follow_on_terminal if viewer is None else viewer.follow()
    return Work(session, what, follow if source == "code" else None)
