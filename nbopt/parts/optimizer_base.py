"""What all optimizers share: torch's own inside, their settings declared so that each is live."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nbopt.hyperparams import Float, Tunable
from nbopt.words import _

GROUP = _("Optimizer")

# Declared once and shared: the same name means the same thing in every optimizer that has it, and its value
# is kept when one optimizer is swapped for another.
MOMENTUM = Float(
    0.0,
    low=0.0,
    high=0.99,
    ge=0.0,
    lt=1.0,
    label=_("Momentum"),
    group=GROUP,
    help=_("Share of the previous update kept in the next one."),
)
BETA1 = Float(
    0.9,
    low=0.0,
    high=0.99,
    ge=0.0,
    lt=1.0,
    label="β₁",
    group=GROUP,
    help=_("Decay of the running mean of gradients."),
)
BETA2 = Float(
    0.999,
    low=0.9,
    high=0.9999,
    ge=0.0,
    lt=1.0,
    label="β₂",
    group=GROUP,
    help=_("Decay of the running mean of squared gradients."),
)


# Parameter groups given their own value of these keep their proportion to the largest, which is live.
SHARED_OUT = ("lr", "weight_decay")


Evaluate = Callable[..., Tensor]


class Optimizer(Tunable):
    """Base of the optimizers: `build` makes the torch optimizer, which a changed value reaches at once.

    Attributes
    ----------
    torch_class : type
    fused : bool
        Whether torch has a fused form of it.
    full_batch : bool
        Whether it evaluates the loss several times a step, and so steps on all samples at once.
    memory : mapping
        What it remembers of each weight: key in torch's state, and its meaning in words. An optimizer that remembers
        just the same takes it over at a swap.
    """

    lr = Float(
        1e-3,
        low=1e-6,
        high=1.0,
        log=True,
        ge=0.0,
        label=_("Learning rate"),
        group=GROUP,
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
    full_batch: ClassVar[bool] = False
    memory: ClassVar[Mapping[str, str]] = {}

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
        self._held = settings_of(adopt)
        self._shares = [
            {key: float(group[key]) / top for key in SHARED_OUT if key in group and (top := self._held[key])}
            for group in adopt.param_groups
        ]
        self.torch = adopt
        self.on_change("")
        return adopt

    def set_rate(self, rate: float) -> None:
        """Use ``rate`` from now on, in each parameter group by its proportion to the largest."""
        if self.torch is not None:
            for group, shares in zip(self.torch.param_groups, self._shares, strict=True):
                group["lr"] = rate * shares.get("lr", 1.0)

    def on_change(self, name: str) -> None:
        """Bring the parameter groups up to date; what did not change stays as each group has it."""
        if self.torch is None:
            return
        settings = self.settings()
        for key, value in settings.items():
            if value != self._held[key]:
                for group, shares in zip(self.torch.param_groups, self._shares, strict=True):
                    group[key] = value * shares.get(key, 1.0) if key in SHARED_OUT else value
        self._held.update(settings)

    def take_over(self, earlier: Optimizer) -> tuple[list[str], list[str]]:
        """Go on with what ``earlier`` remembers, where it means the same.

        Returns
        -------
        kept, dropped : list of str
            In words.
        """
        if self.torch is None or earlier.torch is None or not earlier.torch.state:
            return [], []
        if self.memory != earlier.memory:
            return [], list(earlier.memory.values())
        for weight, state in earlier.torch.state.items():
            # Where one of them is fused its step count is on the device.
            self.torch.state[weight] = {
                key: value.to(weight.device) if isinstance(value, Tensor) else value for key, value in state.items()
            }
        return list(self.memory.values()), []

    def full_step(self, evaluate: Evaluate) -> Tensor:
        """Do a step of an optimizer with ``full_batch``; return the loss before it.

        Parameters
        ----------
        evaluate : callable
            Evaluates loss and gradients of all samples where the weights are now, always with the same noise. Called
            with a function, that one gets the loss, with its graph, in the place of ``backward``.
        """
        raise NotImplementedError


def settings_of(instance: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the first parameter group's settings, with the largest of all groups where they share it out."""
    settings = dict(instance.param_groups[0])
    for key in SHARED_OUT:
        if key in settings:
            settings[key] = max(float(group[key]) for group in instance.param_groups)
    return settings


def _can_fuse(params: Sequence[nn.Parameter]) -> bool:
    return all(p.is_floating_point() and p.device.type in ("cpu", "cuda", "mps") for p in params)
