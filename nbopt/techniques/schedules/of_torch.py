"""Torch's schedulers as schedules of a run: stepped as a loop of one's own does, and put back with the run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import copy, deepcopy
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from nbopt.errors import InvalidHyperparam
from nbopt.hyperparams import Choice, Hyperparam, variant
from nbopt.i18n import N_, _
from nbopt.techniques.optimizers.groups import put
from nbopt.techniques.schedules.planned import GROUP, Schedule

_EACH_STEP = (lr_scheduler.OneCycleLR, lr_scheduler.CyclicLR)  # torch: to be stepped after each batch
_MANY = (lr_scheduler.SequentialLR, lr_scheduler.ChainedScheduler)
_CYCLED = ("momentum", "betas")  # what schedulers change beside the rate
_HOWEVER = (lr_scheduler.LambdaLR, lr_scheduler.MultiplicativeLR)  # the function alone knows what it counts


class StandIn(torch.optim.Optimizer):
    """An optimizer without weights, whose settings a scheduler changes in the place of the true ones."""

    _opt_called = True  # torch warns of schedulers that are stepped before their optimizer

    def __init__(self, groups: Sequence[Mapping[str, Any]], defaults: Mapping[str, Any]) -> None:
        settings = [{key: deepcopy(value) for key, value in group.items() if key != "params"} for group in groups]
        empty = [{**group, "params": [nn.Parameter(torch.zeros(0))]} for group in settings]
        super().__init__(empty, dict(defaults))

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Do nothing."""

    step._wrapped_by_lr_sched = True  # type: ignore[attr-defined]


class TorchSchedule(Schedule):
    """One of torch's schedulers, stepped as a loop of one's own does.

    It changes the settings of a stand-in, and what stands there is used: the rate of each parameter group, times what
    became of the base rate since, and the momentum where the scheduler cycles it. Swapped in again, it begins anew.

    Attributes
    ----------
    given : LRScheduler
        As it was given, over a stand-in.
    begun : list of dict
        The settings of the parameter groups before there was a scheduler, as far as it changes them.
    base : float
        The largest rate that it began with, which is the run's ``lr``.
    needs_interval : bool
        Whether nobody but the user knows how often it is to be stepped.
    """

    schedule_interval = Choice(
        "epoch",
        options=("step", "epoch"),
        label=N_("Scheduler counts"),
        group=GROUP,
        help=N_("When the scheduler is stepped: after each step, or after each epoch."),
    )
    memory: ClassVar[tuple[str, ...]] = ("state",)
    unwritten = N_("one of torch's schedulers, which a script does not hold: give a function of the step, or a name")
    given: ClassVar[LRScheduler]
    begun: ClassVar[list[dict[str, Any]]]
    base: ClassVar[float]
    needs_interval: ClassVar[bool] = False

    @classmethod
    def adopt(cls, given: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
        """Bring the rate that the scheduler began with."""
        if "schedule_interval" not in given:
            cls.ask(values)
        if isinstance(given["schedule"], LRScheduler) and values.get("lr", cls.base) != cls.base and "lr" in given:
            rule = _("the scheduler began with lr={base:g}, and what it says would be multiplied", base=cls.base)
            raise InvalidHyperparam(_("lr: {rule}: leave lr out, or set it later.", rule=rule))
        return {"lr": cls.base}

    @classmethod
    def ask(cls, values: Mapping[str, Any]) -> None:
        """Refuse a scheduler of which nothing tells what it counts: by torch's custom epochs, if the run has some."""
        counts_steps = bool(values.get("steps")) and cls.__dict__["schedule_interval"].default == "epoch"
        if not cls.needs_interval and not counts_steps:
            return
        rule = _("nothing tells whether {name} is stepped after each step or each epoch", name=cls.__name__)
        if counts_steps:
            rule = _("the length of the run is told in steps: {rule}", rule=rule)
        way = _('schedule_interval="step" or schedule_interval="epoch"')
        raise InvalidHyperparam(_("schedule: {rule}: give {way} too.", rule=rule, way=way))

    def __init__(self) -> None:
        self.scheduler = deepcopy(self.given)
        self.factor = 1.0
        self.cycles = False  # whether it changed more than the rate
        self.seen: list[int] = []  # steps and epochs done when it was last asked; none before it began

    def change_rate(self, rate: float, step: int, epoch: float, done: float) -> float:
        """Step the scheduler as often as steps or epochs were completed, and return the largest rate."""
        self.count(step, int(epoch))
        self.factor = rate / self.base if self.base else 1.0
        return max(float(group["lr"]) for group in self.groups) * self.factor

    def count(self, step: int, epoch: int) -> None:
        """Step the scheduler for the steps or epochs that were completed since the last time."""
        now = [step, epoch]
        which = ("step", "epoch").index(self.schedule_interval)
        for _time in range(now[which] - self.seen[which] if self.seen else 0):
            self.scheduler.step()
        self.seen = now

    def change_groups(self, groups: Sequence[dict[str, Any]]) -> None:
        """Give each parameter group what the scheduler says for it; where they are others, the largest rate."""
        own, first = self.groups, self.begun
        if not self.cycles:
            self.cycles = any(
                now.get(key) != begun.get(key) for now, begun in zip(own, first, strict=True) for key in _CYCLED
            )
        largest = max(float(group["lr"]) for group in own)
        for index, group in enumerate(groups):
            if len(own) != len(groups):
                put(group, "lr", largest * self.factor)
                continue
            put(group, "lr", own[index]["lr"] * self.factor)
            group.update(
                {key: own[index][key] for key in _CYCLED if self.cycles and key in group and key in own[index]}
            )

    @property
    def groups(self) -> list[dict[str, Any]]:
        """The parameter groups of the stand-in."""
        return self.scheduler.optimizer.param_groups

    @property
    def state(self) -> dict[str, Any]:
        """All that the scheduler's future depends on, as JSON can hold it."""
        settings = [{key: value for key, value in group.items() if key != "params"} for group in self.groups]
        seen = {"seen": list(self.seen), "cycles": self.cycles}
        return {**seen, "own": _leaves(self.scheduler.state_dict()), "groups": _leaves(settings)}

    @state.setter
    def state(self, state: Mapping[str, Any]) -> None:
        self.scheduler = deepcopy(self.given)
        self.scheduler.load_state_dict(_filled(self.scheduler.state_dict(), state["own"]))
        for index, group in enumerate(self.groups):
            for key in group.keys() - {"params"}:
                group[key] = _filled(group[key], state["groups"], f"{index}/{key}")
        self.seen, self.cycles = list(state["seen"]), state["cycles"]


class TorchPlateau(TorchSchedule):
    """Torch's ReduceLROnPlateau, stepped with each validation loss or, without validation, the epoch's mean loss."""

    total: Tensor | None = None
    steps = 0
    memory: ClassVar[tuple[str, ...]] = ("state", "total", "steps")

    @classmethod
    def ask(cls, values: Mapping[str, Any]) -> None:
        """Ask nothing: it counts validations."""

    @classmethod
    def declared(cls) -> Mapping[str, Hyperparam[Any]]:
        """Return the declarations: validations alone say when it is stepped."""
        return {}

    def count(self, step: int, epoch: int) -> None:
        """Do nothing: validations are counted."""

    def after_step(self, loss: Tensor) -> None:
        """Add up the losses, on the device."""
        self.total = loss if self.total is None else self.total + loss
        self.steps += 1

    def after_epoch(self, val_loss: float | None) -> None:
        """Step the scheduler."""
        mean = math.nan if self.total is None else float(self.total) / self.steps
        self.total, self.steps = None, 0
        plateau: Any = self.scheduler
        plateau.step(mean if val_loss is None else val_loss)


def wrap_made(given: Any, name: str, stand_in: StandIn) -> type[Schedule]:
    """Return the schedule that a scheduler is which ``given`` makes of an optimizer.

    Raises
    ------
    InvalidHyperparam
        If that fails.
    """
    try:
        begun = _cycled(stand_in)
        return wrap(given(stand_in), stand_in, begun)
    except Exception as error:
        how = "schedule=functools.partial(torch.optim.lr_scheduler.StepLR, step_size=10)"
        what = _("{name} made with the optimizer alone raised {error!r}", name=name, error=error)
        raise InvalidHyperparam(_("schedule: {what}. As an example: {how}.", what=what, how=how)) from error


def wrap(scheduler: LRScheduler, stand_in: StandIn, begun: list[dict[str, Any]] | None = None) -> type[Schedule]:
    """Return the schedule that a scheduler is, over a stand-in of its optimizer.

    Raises
    ------
    InvalidHyperparam
        If it cannot be copied.
    """
    name = type(scheduler).__name__
    memo: dict[int, Any] = {id(scheduler.optimizer): stand_in}
    try:
        given = deepcopy(scheduler, memo)
    except Exception as error:
        rule = _("it cannot be copied, which going back in a run requires ({error!r})", error=error)
        raise InvalidHyperparam(_("schedule: {name}: {rule}.", name=name, rule=rule)) from error
    base = max(float(group.get("initial_lr", group["lr"])) for group in stand_in.param_groups)
    members = {"given": given, "begun": begun or _cycled(stand_in), "base": base, "__doc__": TorchSchedule.__doc__}
    if isinstance(scheduler, ReduceLROnPlateau):
        return type(name, (TorchPlateau,), members)
    parts = parts_of(scheduler)
    counts = "step" if any(isinstance(part, _EACH_STEP) for part in parts) else "epoch"
    interval = TorchSchedule.__dict__["schedule_interval"]
    own = any(isinstance(part, _HOWEVER) or type(part).__module__ != lr_scheduler.__name__ for part in parts)
    members |= {"schedule_interval": variant(interval, default=counts), "needs_interval": own and counts == "epoch"}
    return type(name, (TorchSchedule,), members)


def _cycled(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    return [{key: group[key] for key in _CYCLED if key in group} for group in optimizer.param_groups]


def parts_of(scheduler: Any) -> list[Any]:
    """Return a scheduler and those that it is made of."""
    inner = getattr(scheduler, "_schedulers", ()) if isinstance(scheduler, _MANY) else ()
    return [scheduler, *(part for each in inner for part in parts_of(each))]


def _leaves(value: Any, path: str = "") -> dict[str, Any]:
    """Return the numbers, texts and lists of them in something nested, by where they stand."""
    if isinstance(value, Tensor):
        return {path: value.tolist()}
    if _is_plain(value) or (isinstance(value, (list, tuple)) and all(map(_is_plain, value))):
        return {path: list(value) if isinstance(value, (list, tuple)) else value}
    found: dict[str, Any] = {}
    for key, item in _items(value):
        found.update(_leaves(item, f"{path}/{key}".lstrip("/")))
    return found


def _filled(value: Any, leaves: Mapping[str, Any], path: str = "") -> Any:
    """Return the same nested thing with other leaves."""
    if path in leaves:
        leaf = leaves[path]
        if isinstance(value, Tensor):
            return torch.tensor(leaf, dtype=value.dtype, device=value.device)
        return tuple(leaf) if isinstance(value, tuple) else list(leaf) if isinstance(leaf, list) else leaf
    filled = {key: _filled(item, leaves, f"{path}/{key}".lstrip("/")) for key, item in _items(value)}
    if isinstance(value, Mapping):
        made: Any = copy(value)
        for key in value:
            made[key] = filled[key]
        return made
    return type(value)(filled.values()) if isinstance(value, (list, tuple)) else value


def _items(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, (list, tuple)) else []


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))
