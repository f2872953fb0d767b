"""Optimizers: torch's own, their settings declared so that each is live.

A new optimizer costs one class: the declarations, the torch class, and `settings`, which turns live values
into the keys of a torch parameter group.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import nn

from nbopt.errors import InvalidHyperparam, unknown
from nbopt.hyperparams import Flag, Float, Hyperparam, Strategy, variant
from nbopt.i18n import N_, _
from nbopt.techniques.optimizers.base import BETA1, BETA2, GROUP, MOMENTUM, Optimizer
from nbopt.techniques.optimizers.groups import Groups, settings_of
from nbopt.techniques.optimizers.second_order import LBFGS, BatchLBFGS, Newton
from nbopt.techniques.optimizers.wrapped import check_whole


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum (Polyak 1964), also Nesterov's (Sutskever et al. 2013)."""

    momentum = MOMENTUM
    nesterov = Flag(
        False,
        label=N_("Nesterov"),
        group=GROUP,
        help=N_("Look ahead along the momentum; acts when momentum is above 0."),
        needs="momentum",
    )
    torch_class = torch.optim.SGD
    usual: ClassVar[Mapping[str, Any]] = {"lr": 1e-2}
    memory: ClassVar[Mapping[str, str]] = {"momentum_buffer": N_("momentum")}

    def settings(self) -> dict[str, Any]:
        """Return the live values; torch refuses Nesterov's momentum where there is none."""
        nesterov = self.nesterov and self.momentum > 0
        return {**super().settings(), "momentum": self.momentum, "nesterov": nesterov}


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015); weight decay is added to the gradient."""

    beta1 = BETA1
    beta2 = BETA2
    torch_class: ClassVar[type[torch.optim.Optimizer]] = torch.optim.Adam
    usual: ClassVar[Mapping[str, Any]] = {"lr": 1e-3}
    fused = True
    memory: ClassVar[Mapping[str, str]] = {
        "exp_avg": N_("running mean of gradients"),
        "exp_avg_sq": N_("running mean of squared gradients"),
        "step": N_("count of steps"),
    }

    def settings(self) -> dict[str, Any]:
        """Return the live values; torch keeps both decays under one key."""
        return {**super().settings(), "betas": (self.beta1, self.beta2)}


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    torch_class = torch.optim.AdamW


class RMSprop(Optimizer):
    """RMSprop (Tieleman and Hinton 2012), with momentum."""

    momentum = MOMENTUM
    alpha = Float(
        0.99,
        low=0.5,
        high=0.999,
        ge=0.0,
        lt=1.0,
        label=N_("Smoothing α"),  # noqa: RUF001
        group=GROUP,
        help=N_("Decay of the running mean of squared gradients."),
    )
    torch_class = torch.optim.RMSprop
    usual: ClassVar[Mapping[str, Any]] = {"lr": 1e-3}
    changed = 'if changes.get("momentum"):\n    begin_momentum(optimizer)'
    memory: ClassVar[Mapping[str, str]] = {
        "square_avg": N_("running mean of squared gradients, from zero"),
        "momentum_buffer": N_("momentum of scaled gradients"),
    }

    def settings(self) -> dict[str, Any]:
        """Return the live values."""
        return {**super().settings(), "momentum": self.momentum, "alpha": self.alpha}

    def on_change(self, name: str) -> None:
        """Bring the parameter groups up to date; give weights that had no momentum so far a place for it."""
        super().on_change(name)
        if self.momentum and self.torch is not None:
            begin_momentum(self.torch)


# Scripts hold this as it is written here.
def begin_momentum(optimizer: torch.optim.Optimizer) -> None:
    """Give weights that had no momentum in RMSprop so far a place for it."""
    for state in optimizer.state.values():
        if "square_avg" in state and "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(state["square_avg"])


class Adagrad(Optimizer):
    """Adagrad (Duchi et al. 2011): each weight's rate shrinks with the sum of its squared gradients."""

    lr_decay = Float(
        0.0,
        low=1e-5,
        high=1.0,
        log=True,
        zero=True,
        ge=0.0,
        label=N_("Rate decay"),
        group=GROUP,
        help=N_("Step number n uses lr / (1 + n * this)."),
    )
    torch_class = torch.optim.Adagrad
    usual: ClassVar[Mapping[str, Any]] = {"lr": 1e-2}
    memory: ClassVar[Mapping[str, str]] = {"sum": N_("sum of squared gradients")}

    def settings(self) -> dict[str, Any]:
        """Return the live values."""
        return {**super().settings(), "lr_decay": self.lr_decay}


OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "adam": Adam,
    "adamw": AdamW,
    "rmsprop": RMSprop,
    "adagrad": Adagrad,
    "lbfgs": LBFGS,
    "newton": Newton,
}


def optimizer_choice(given: object) -> tuple[Hyperparam[str], dict[str, Any]]:
    """Return the run's ``optimizer`` declaration and the values that ``given`` brings along.

    Parameters
    ----------
    given : str, torch.optim class or torch.optim.Optimizer
        A class or instance brings its own settings; it joins the drop-down under its name.

    Raises
    ------
    InvalidHyperparam
        If it is none of these, not whole, or needs to call the model itself.
    """
    if isinstance(given, str):
        if given.lower() not in OPTIMIZERS:
            raise unknown(_("optimizer"), given, OPTIMIZERS)
        return _declaration(OPTIMIZERS, given.lower()), {}
    if isinstance(given, torch.optim.Optimizer):
        instance = given
    elif isinstance(given, type) and issubclass(given, torch.optim.Optimizer):
        instance = _probe(given)
    else:
        raise unknown(_("optimizer"), given, [*OPTIMIZERS, _("a torch.optim class or instance")])
    check_whole(instance)
    classes, refused = dict(OPTIMIZERS), {}
    if Groups(instance=instance).differ:
        reason = _("it steps all weights at one rate, and the parameter groups given have different ones")
        refused = {name: f"{name}: {reason}" for name, kind in OPTIMIZERS.items() if kind.repeats}
        classes = {name: kind for name, kind in OPTIMIZERS.items() if name not in refused}
    if type(instance) is torch.optim.LBFGS:
        group = instance.param_groups[0]
        classes["lbfgs"] = _own_lbfgs(group["max_eval"], group["max_iter"])
    for name, known in classes.items():
        if known.torch_class is type(instance):
            return _declaration(classes, name, refused), _values_of(instance, known)
    name, choice = type(instance).__name__, _custom(instance)
    return _declaration({**classes, name: choice}, name, refused), _values_of(instance, choice)


def _declaration(
    classes: dict[str, type[Optimizer]], default: str, refused: Mapping[str, str] = MappingProxyType({})
) -> Hyperparam[str]:
    return variant(OPTIMIZER, default=default, classes=classes, options=tuple(classes), refused=refused)


def _own_lbfgs(*evaluations: int) -> type[Optimizer]:
    return type(BatchLBFGS.__name__, (BatchLBFGS,), {"evaluations": evaluations, "__doc__": BatchLBFGS.__doc__})


def _custom(instance: torch.optim.Optimizer) -> type[Optimizer]:
    """Declare an optimizer nbopt does not know: of the shared hyperparameters those it has are live."""
    torch_class = type(instance)
    closure = inspect.signature(torch_class.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise InvalidHyperparam(
            _(
                "optimizer {name} evaluates the model several times a step: not here.",
                name=torch_class.__name__,
            )
        )
    shared = {"momentum": MOMENTUM} if isinstance(instance.defaults.get("momentum"), (int, float)) else {}
    held = settings_of(instance)
    has = [name for name in ("lr", "weight_decay", *shared) if name in held]

    def settings(self: Any) -> dict[str, Any]:
        return {name: getattr(self, name) for name in has}

    base = Optimizer if "lr" in has else _Unrated
    members = {**shared, "torch_class": torch_class, "settings": settings}
    return type(torch_class.__name__, (base,), members)


class _Unrated(Optimizer):
    """An optimizer made without a learning rate, which finds its own."""

    rated = False

    @classmethod
    def declared(cls) -> Mapping[str, Hyperparam[Any]]:
        """Return the declarations, but for that of the learning rate."""
        return {name: spec for name, spec in super().declared().items() if name != "lr"}


def _probe(torch_class: type[torch.optim.Optimizer]) -> torch.optim.Optimizer:
    """Make one over a dummy weight, to read its defaults (a matrix: some accept nothing less)."""
    weight = nn.Parameter(torch.zeros(2, 2))
    try:
        rate = inspect.signature(torch_class).parameters.get("lr")
        if rate is not None and rate.default is inspect.Parameter.empty:
            return torch_class([weight], lr=Optimizer.lr.default)  # type: ignore[call-arg]
        return torch_class([weight])  # type: ignore[call-arg]
    except Exception as error:
        raise unknown(_("optimizer"), torch_class.__name__, OPTIMIZERS) from error


def _values_of(instance: torch.optim.Optimizer, choice: type[Optimizer]) -> dict[str, Any]:
    settings = settings_of(instance)
    if "betas" in settings:
        settings["beta1"], settings["beta2"] = map(float, settings["betas"][:2])
    if "line_search_fn" in settings:
        settings["line_search"] = settings["line_search_fn"] is not None
    return {name: settings[name] for name in choice.declared() if name in settings}


OPTIMIZER = Strategy(
    "adam",
    classes=OPTIMIZERS,
    label=N_("Optimizer"),
    group=GROUP,
    help=N_("Can be swapped while training; running means that the new one uses too are kept."),
    synonyms="optim opt solver optimiser",
    folded=True,
)
OPTIMIZER.__set_name__(Optimizer, "optimizer")
