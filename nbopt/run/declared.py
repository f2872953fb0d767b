"""The hyperparameters of a run: all that it could use, and those of them that cannot act in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from nbopt.data.sources import StreamSource, makes_batches
from nbopt.errors import InvalidHyperparam
from nbopt.hyperparams import Hyperparam, Hyperparams, Int, variant
from nbopt.i18n import _
from nbopt.techniques.base import Technique
from nbopt.techniques.catalogue import GIVEN, SHOWN, known_of, still_values
from nbopt.techniques.context import Setting
from nbopt.techniques.losses.base import Loss
from nbopt.techniques.losses.choice import LOSS, loss_choice
from nbopt.techniques.losses.terms import Terms
from nbopt.techniques.optimizers.made import check_settings
from nbopt.techniques.optimizers.standard import OPTIMIZER, optimizer_choice
from nbopt.techniques.schedules.own import schedule_choice
from nbopt.training.step.pace import Pace
from nbopt.training.training import Training


def declare(
    model: torch.nn.Module,
    train: Any,
    loss: Any,
    optimizer: Any,
    device: torch.device,
    given: dict[str, Any],
    techniques: Sequence[Technique] = (),
) -> Hyperparams:
    """Return a run's hyperparameters: as given, else as model, loader and optimizer bring them, else their defaults.

    Raises
    ------
    InvalidHyperparam
        For an unknown name or an illegal value among ``given``.
    """
    hyperparams = Hyperparams()
    setting = Setting(model, device)
    choice, own = optimizer_choice(optimizer)
    _declare_known(hyperparams, choice, of_loss := loss_choice(loss))
    _check_terms(hyperparams, of_loss)
    _declare_own(hyperparams, techniques)
    for kind in known_of(techniques):
        every = kind.declared()
        hyperparams.declare(*(spec for name, spec in kind.declared_for(setting).items() if spec is not every[name]))
    for loader in (getattr(train, "batch_sampler", None), train):  # a DataLoader's
        if type(size := getattr(loader, "batch_size", None)) is int and size > 0:
            own["batch_size"] = size
    given = hyperparams.rename(given)
    own_kind: Any = choice
    check_settings(own_kind.classes[choice.default], optimizer, given, hyperparams, still_values(techniques))
    if not isinstance(given.get("schedule", ""), str):
        given = given | _declare_schedule(hyperparams, optimizer, own, given)
    for kind in known_of(techniques):
        own.update(kind.bring(setting))
    hyperparams.bring(own)
    for kind in known_of(techniques):
        own.update(kind.imply(given))
    values = hyperparams.check({**own, **given})
    for name, value in values.items():
        spec = hyperparams.spec(name)
        if isinstance(spec, Int) and spec.tenfold and spec.high < 10 * value < math.inf:
            hyperparams.declare(variant(spec, high=10 * value))
        hyperparams.assign(name, value)
    hyperparams.check_together({})
    return hyperparams


def declare_all() -> Hyperparams:
    """Return all that a run can have, whatever its model, data, loss and device are."""
    hyperparams = Hyperparams()
    _declare_known(hyperparams, optimizer_choice("adam")[0], LOSS)
    return hyperparams


def find_loss(hyperparams: Hyperparams) -> type[Loss]:
    """Return the class of the loss that a run with these hyperparameters has."""
    choice: Any = hyperparams.spec(LOSS.name)
    kind: type[Loss] = choice.classes[hyperparams[LOSS.name]]
    return kind


def _declare_known(hyperparams: Hyperparams, optimizer: Hyperparam[str], loss: Hyperparam[str]) -> None:
    own: dict[Any, Any] = {OPTIMIZER: optimizer, LOSS: loss}
    hyperparams.declare(*(own.get(item, item) for item in SHOWN), Pace)


def _check_terms(hyperparams: Hyperparams, loss: Any) -> None:
    """Raise InvalidHyperparam where the weight of a term, or a setting of it, has the name of something else."""
    for kind in loss.classes.values():
        for name, spec in kind.declared().items():
            if hyperparams.spec(name) is not spec and issubclass(kind, Terms):
                raise InvalidHyperparam(
                    _("loss: there is a hyperparameter {name} already: rename the term.", name=name)
                )


def _declare_own(hyperparams: Hyperparams, techniques: Sequence[Technique]) -> None:
    """Declare what the user's techniques declare."""
    for technique in techniques:
        for name in technique.declared():
            if name in hyperparams:
                kind = type(technique).__name__
                raise ValueError(
                    _("{kind}: there is a hyperparameter {name} already: rename it.", kind=kind, name=name)
                )
        hyperparams.declare(type(technique))
    hyperparams.elsewhere = {
        name: _("it comes with a technique, Run(..., techniques=[{example}])", example=example)
        for kind, example in GIVEN.items()
        for spec in kind.declared().values()
        for name in (spec.name, *spec.synonyms.split())
        if spec.name not in hyperparams
    }


def _declare_schedule(
    hyperparams: Hyperparams, optimizer: object, own: dict[str, Any], given: dict[str, Any]
) -> dict[str, Any]:
    """Let a schedule of the user's own stand among the names; return the values that it brings."""
    known = given.keys() & hyperparams.keys() - {"schedule"}  # the others are those of this schedule
    values = hyperparams.check({**own, **{name: given[name] for name in known}})
    spec: Any = hyperparams.spec("optimizer")
    part = spec.classes[hyperparams["optimizer"]]()
    vars(part).update({name: values.get(name, hyperparams[name]) for name in part.declared()})
    groups, defaults = [part.settings()], part.settings()
    if isinstance(optimizer, torch.optim.Optimizer):
        groups, defaults = optimizer.param_groups, optimizer.defaults
    choice: Any = schedule_choice(given["schedule"], optimizer, groups, defaults)
    hyperparams.declare(choice)
    kind = choice.classes[choice.default]
    brings = {"schedule": choice.default}
    return {**brings, **kind.adopt(given, values)}


def find_inert(setting: Setting, train: Any, techniques: Sequence[Technique]) -> dict[str, str]:
    """Return the hyperparameters that cannot act in a run, each with the reason; others show by `find_unfit`."""
    found: dict[str, str] = {}
    for kind in known_of(techniques):
        if reason := kind.unfit_for(setting):
            found.update(dict.fromkeys(kind.declared(), reason))
    if makes_batches(train):
        found["batch_size"] = _("the DataLoader makes the batches")
    return found


def find_unfit(training: Training, train: Any) -> dict[str, str]:
    """Return the hyperparameters that cannot act on a run's data, each with the reason."""
    found = dict(training.acting.unfit)
    if isinstance(training.cursor.source, StreamSource) and not makes_batches(train):
        found["batch_size"] = _("a stream keeps the batch size it started with")
    return found
