"""Optimizers: torch's own, their settings declared so that each is live.

A new optimizer costs one class: the declarations, the torch class, and `settings`, which turns live values
into the keys of a torch parameter group.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import nn

from nbopt.hyperparams import Flag, Float, Hyperparam, Strategy, Tunable, variant
from nbopt.names import InvalidHyperparam, unknown
from nbopt.words import _

_GROUP = _("Optimizer")

# Declared once and shared: the same name means the same thing in every optimizer that has it, and its value
# is kept when one optimizer is swapped for another.
MOMENTUM = Float(
    0.0,
    low=0.0,
    high=0.99,
    ge=0.0,
    lt=1.0,
    label=_("Momentum"),
    group=_GROUP,
    help=_("Share of the previous update kept in the next one."),
)
BETA1 = Float(
    0.9,
    low=0.0,
    high=0.99,
    ge=0.0,
    lt=1.0,
    label="β₁",
    group=_GROUP,
    help=_("Decay of the running mean of gradients."),
)
BETA2 = Float(
    0.999,
    low=0.9,
    high=0.9999,
    ge=0.0,
    lt=1.0,
    label="β₂",
    group=_GROUP,
    help=_("Decay of the running mean of squared gradients."),
)


# Parameter groups given their own value of these keep their proportion to the largest, which is live.
_SHARED_OUT = ("lr", "weight_decay")


class Optimizer(Tunable):
    """Base of the optimizers: `build` makes the torch optimizer, which a changed value reaches at once."""

    lr = Float(
        1e-3,
        low=1e-6,
        high=1.0,
        log=True,
        ge=0.0,
        label=_("Learning rate"),
        group=_GROUP,
        help=_("Length of a step along the optimizer's direction."),
    )
    weight_decay = Float(
        0.0,
        low=1e-6,
        high=1.0,
        log=True,
        zero=True,
        ge=0.0,
        label=_("Weight decay"),
        group=_("Regularization"),
        help=_("L2 regularization; decoupled from the gradient in AdamW."),
    )

    torch_class: ClassVar[type[torch.optim.Optimizer]]
    fused: ClassVar[bool] = False

    def __init__(self) -> None:
        self.torch: torch.optim.Optimizer | None = None
        self._held: dict[str, Any] = {}  # what the parameter groups hold
        self._shares: list[dict[str, float]] = []

    def settings(self) -> dict[str, Any]:
        """Return the live values as keys of a torch parameter group."""
        return {"lr": self.lr, "weight_decay": self.weight_decay}

    def build(
        self, params: Sequence[nn.Parameter], adopt: torch.optim.Optimizer | None = None
    ) -> torch.optim.Optimizer:
        """Make the torch optimizer over ``params``, or take over ``adopt``, the user's own instance."""
        if adopt is None:
            extra: dict[str, Any] = {"fused": True} if self.fused and _can_fuse(params) else {}
            # The other settings follow below: a class of the user's may not take them all as arguments.
            adopt = self.torch_class(params, lr=self.lr, **extra)  # type: ignore[call-arg]
        self._held = _settings_of(adopt)
        self._shares = [
            {key: float(group[key]) / top for key in _SHARED_OUT if key in group and (top := self._held[key])}
            for group in adopt.param_groups
        ]
        self.torch = adopt
        self.on_change("")
        return adopt

    def on_change(self, name: str) -> None:
        """Bring the parameter groups up to date; what did not change stays as each group has it."""
        if self.torch is None:
            return
        settings = self.settings()
        for key, value in settings.items():
            if value != self._held[key]:
                for group, shares in zip(self.torch.param_groups, self._shares, strict=True):
                    group[key] = value * shares.get(key, 1.0) if key in _SHARED_OUT else value
        self._held.update(settings)


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum (Polyak 1964), also Nesterov's (Sutskever et al. 2013)."""

    momentum = MOMENTUM
    nesterov = Flag(
        False,
        label=_("Nesterov"),
        group=_GROUP,
        help=_("Look ahead along the momentum; acts when momentum is above 0."),
    )
    torch_class = torch.optim.SGD

    def settings(self) -> dict[str, Any]:
        """Return the live values; torch refuses Nesterov's momentum where there is none."""
        nesterov = self.nesterov and self.momentum > 0
        return {**super().settings(), "momentum": self.momentum, "nesterov": nesterov}


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015); weight decay is added to the gradient."""

    beta1 = BETA1
    beta2 = BETA2
    torch_class: ClassVar[type[torch.optim.Optimizer]] = torch.optim.Adam
    fused = True

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
        label=_("Smoothing α"),  # noqa: RUF001
        group=_GROUP,
        help=_("Decay of the running mean of squared gradients."),
    )
    torch_class = torch.optim.RMSprop

    def settings(self) -> dict[str, Any]:
        """Return the live values."""
        return {**super().settings(), "momentum": self.momentum, "alpha": self.alpha}

    def on_change(self, name: str) -> None:
        """Bring the parameter groups up to date; give weights that had no momentum so far a place for it."""
        super().on_change(name)
        if self.momentum and self.torch is not None:
            for state in self.torch.state.values():
                state.setdefault("momentum_buffer", torch.zeros_like(state["square_avg"]))


OPTIMIZERS: dict[str, type[Optimizer]] = {"sgd": SGD, "adam": Adam, "adamw": AdamW, "rmsprop": RMSprop}


def optimizer_choice(given: object) -> tuple[Hyperparam[str], dict[str, Any]]:
    """Return the run's ``optimizer`` declaration and the values that ``given`` brings along.

    Parameters
    ----------
    given : str, torch.optim class or torch.optim.Optimizer
        A class or instance brings its own settings; it joins the drop-down under its name.

    Raises
    ------
    InvalidHyperparam
        If it is none of these, or needs to call the model itself.
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
    for name, known in OPTIMIZERS.items():
        if known.torch_class is type(instance):
            return _declaration(OPTIMIZERS, name), _values_of(instance, known)
    name, choice = type(instance).__name__, _custom(instance)
    return _declaration({**OPTIMIZERS, name: choice}, name), _values_of(instance, choice)


def _declaration(classes: dict[str, type[Optimizer]], default: str) -> Hyperparam[str]:
    return variant(OPTIMIZER, default=default, classes=classes, options=tuple(classes))


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
    decays = "weight_decay" in instance.defaults

    def settings(self: Any) -> dict[str, Any]:
        keys = {"lr": self.lr, **{name: getattr(self, name) for name in shared}}
        return {**keys, "weight_decay": self.weight_decay} if decays else keys

    members = {**shared, "torch_class": torch_class, "settings": settings}
    return type(torch_class.__name__, (Optimizer,), members)


def _probe(torch_class: type[torch.optim.Optimizer]) -> torch.optim.Optimizer:
    """Make one over a dummy weight, to read its defaults (a matrix: some accept nothing less)."""
    weight = nn.Parameter(torch.zeros(2, 2))
    try:
        if inspect.signature(torch_class).parameters["lr"].default is inspect.Parameter.empty:
            return torch_class([weight], lr=Optimizer.lr.default)  # type: ignore[call-arg]
        return torch_class([weight])  # type: ignore[call-arg]
    except Exception as error:
        raise unknown(_("optimizer"), torch_class.__name__, OPTIMIZERS) from error


def _settings_of(instance: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the first parameter group's settings, with the largest of all groups where they share it out."""
    settings = dict(instance.param_groups[0])
    for key in _SHARED_OUT:
        if key in settings:
            settings[key] = max(float(group[key]) for group in instance.param_groups)
    return settings


def _values_of(instance: torch.optim.Optimizer, choice: type[Optimizer]) -> dict[str, Any]:
    settings = _settings_of(instance)
    if "betas" in settings:
        settings["beta1"], settings["beta2"] = settings["betas"]
    return {name: settings[name] for name in choice.declared() if name in settings}


def _can_fuse(params: Sequence[nn.Parameter]) -> bool:
    return all(p.is_floating_point() and p.device.type in ("cpu", "cuda", "mps") for p in params)


OPTIMIZER = Strategy(
    "adam",
    classes=OPTIMIZERS,
    label=_("Optimizer"),
    group=_GROUP,
    help=_("Swapped between two steps; the new one starts with empty running means."),
)
OPTIMIZER.__set_name__(Optimizer, "optimizer")
