"""Schedules of the user's own: a function of the step, or one of torch's schedulers."""

from __future__ import annotations

import gc
import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from torch.optim.lr_scheduler import LRScheduler

from nbopt.errors import InvalidHyperparam, shorten, unknown
from nbopt.hyperparams import Hyperparam, variant
from nbopt.i18n import _
from nbopt.techniques.schedules.choice import SCHEDULE, SCHEDULES
from nbopt.techniques.schedules.of_torch import StandIn, parts_of, wrap, wrap_made
from nbopt.techniques.schedules.planned import Schedule


class OwnSchedule(Schedule):
    """The base rate times a function of the step, as torch's LambdaLR that is stepped after each step."""

    factor: ClassVar[Any]

    def change_rate(self, rate: float, step: int, epoch: float, done: float) -> float:
        """Return rate * factor(step), with the steps counted from 0."""
        return rate * float(self.factor(step))


def schedule_choice(
    given: Any, optimizer: object, groups: Sequence[Mapping[str, Any]], defaults: Mapping[str, Any]
) -> Hyperparam[str]:
    """Return the run's ``schedule`` declaration, in which a schedule of the user's own stands beside the names.

    Parameters
    ----------
    given : LRScheduler, type, functools.partial or callable
        A scheduler over the optimizer given; what makes one of an optimizer, as
        ``partial(torch.optim.lr_scheduler.StepLR, step_size=10)``; or a function of the step, counted from 0, that
        returns what the base rate is multiplied by. What this returned for another run stands for the same here.
    optimizer : object
        What the run was given as its optimizer.
    groups, defaults : sequence of mapping, mapping
        The settings of the parameter groups that the run begins with, and those of an optimizer by default.

    Raises
    ------
    InvalidHyperparam
        If it is none of these, or a scheduler over another optimizer.
    """
    if isinstance(given, type) and issubclass(given, Schedule):
        kind = given
    elif isinstance(given, LRScheduler):
        if given.optimizer is not optimizer:
            rule = _("the scheduler was made over another optimizer than the run has")
            raise InvalidHyperparam(_("schedule: {rule}. Give that one too, optimizer=optimizer.", rule=rule))
        kind = wrap(given, StandIn(given.optimizer.param_groups, given.optimizer.defaults))
    elif (maker := given.func if isinstance(given, partial) else given) and _makes_schedulers(maker):
        kind = wrap_made(given, maker.__name__, StandIn(groups, defaults))
    elif callable(given) and not isinstance(given, type):
        name = getattr(given, "__name__", type(given).__name__)
        members = {"factor": staticmethod(_checked(given)), "__doc__": OwnSchedule.__doc__, "__qualname__": name}
        kind = type("OwnSchedule", (OwnSchedule,), members)
    else:
        own = [_("a torch scheduler"), _("callable(step)")]
        raise unknown(_("schedule"), given, [*SCHEDULES, *own])
    name = f"{kind.__qualname__} (yours)" if kind.__qualname__ in SCHEDULES else kind.__qualname__
    classes = {**SCHEDULES, name: kind}
    return variant(SCHEDULE, default=name, classes=classes, options=tuple(classes))


def find_schedulers(optimizer: torch.optim.Optimizer) -> list[Any]:
    """Return all schedulers that there are over an optimizer."""
    found = gc.get_referrers(optimizer)
    spaces = [item for item in found if type(item) is dict and "__name__" not in item and "optimizer" in item]
    if spaces:  # of objects whose attributes Python keeps in a dictionary by now
        found += gc.get_referrers(*spaces)
    return [item for item in found if _schedules(type(item))]


def check_schedulers(optimizer: object, schedule: object) -> None:
    """Refuse an optimizer with a scheduler that nobody would step.

    Parameters
    ----------
    optimizer : object
        What the run was given.
    schedule : object
        What it was given as its schedule, None for nothing. A name, or a function, says that others do not count.

    Raises
    ------
    InvalidHyperparam
        Says how to hand it over.
    """
    if not isinstance(optimizer, torch.optim.Optimizer) or not (schedule is None or isinstance(schedule, LRScheduler)):
        return
    stepped = {id(part) for part in parts_of(schedule)}
    others = [scheduler for scheduler in find_schedulers(optimizer) if id(scheduler) not in stepped]
    if names := dict.fromkeys(type(scheduler).__name__ for scheduler in others):
        what = _("the optimizer given has a scheduler, {names}, that nobody would step", names=", ".join(names))
        rate = shorten(optimizer.param_groups[0].get("lr"))
        ways = _('schedule=scheduler hands one over, schedule="constant" trains at lr={rate} without it', rate=rate)
        raise InvalidHyperparam(f"{what}: {ways}.")


def _schedules(kind: type) -> bool:
    if issubclass(kind, LRScheduler):
        return True
    return "sched" in kind.__name__.lower() and callable(getattr(kind, "step", None)) and not issubclass(kind, Schedule)


def _makes_schedulers(maker: Any) -> bool:
    return isinstance(maker, type) and issubclass(maker, LRScheduler)


def _checked(function: Callable[[int], Any]) -> Callable[[int], Any]:
    """Return a function of the step once it was tried."""
    rule = _("a function of the step that returns what the base rate is multiplied by")
    try:
        value = function(0)
    except Exception as error:
        raise InvalidHyperparam(_("schedule must be {rule}; for 0 it raised {e!r}.", rule=rule, e=error)) from error
    if not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise InvalidHyperparam(_("schedule must be {rule}; for 0 it returned {v}.", rule=rule, v=shorten(value)))
    return function
