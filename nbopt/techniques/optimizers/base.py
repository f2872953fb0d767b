"""What all optimizers share: torch's own inside, their settings declared so that each is live."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nbopt.hyperparams import Float, Tunable
from nbopt.i18n import N_, _
from nbopt.techniques.optimizers.groups import Groups, forget_sizes, put, settings_of

GROUP = N_("Optimizer")

# Declared once and shared: the same name means the same thing in every optimizer that has it, and its value
# is kept when one optimizer is swapped for another.
MOMENTUM = Float(
    0.0,
    low=0.0,
    high=0.99,
    ge=0.0,
    lt=1.0,
    label=N_("Momentum"),
    group=GROUP,
    help=N_("Fraction of the previous update that is kept in the next one."),
)
BETA1 = Float(
    0.9,
    low=0.0,
    high=0.99,
    ge=0.0,
    lt=1.0,
    label="β₁",
    group=GROUP,
    help=N_("Decay of the running mean of gradients."),
    synonyms="betas beta_1",
)
BETA2 = Float(
    0.999,
    low=0.9,
    high=0.9999,
    ge=0.0,
    lt=1.0,
    label="β₂",
    group=GROUP,
    help=N_("Decay of the running mean of squared gradients."),
    synonyms="beta_2",
)


Evaluate = Callable[..., Tensor]


class Optimizer(Tunable):
    """Base of the optimizers: `build` makes the torch optimizer, which a changed value reaches at once.

    Attributes
    ----------
    torch_class : type
    fused : bool
        Whether torch has a fused form of it.
    rated : bool
        Whether it has a learning rate; one made without, ``lr=None``, finds its own in each step.
    repeats : bool
        Whether it evaluates the loss several times a step; then it knows no parameter groups either.
    full_batch : bool
        Whether it steps on all samples at once; only one that ``repeats`` does.
    curved : bool
        Whether it takes gradients of gradients.
    closing, changed : str
        Lines of a script: what is done to loss and gradients of each evaluation, and where hyperparameters change; see
        `nbopt.techniques.own_lines`.
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
        label=N_("Learning rate"),
        group=GROUP,
        rank=1,
        help=N_("Step size of the optimizer."),
        synonyms="learning_rate learningrate base_lr init_lr learning_rate_init eta",
    )
    weight_decay = Float(
        0.0,
        low=1e-6,
        high=1.0,
        log=True,
        zero=True,
        ge=0.0,
        label=N_("Weight decay"),
        group=N_("Regularization"),
        help=N_("L2 regularization: pulls weights towards 0. Decoupled from the gradient in AdamW."),
        rank=3,
        synonyms="wd l2 l2_penalty l2_regularization weightdecay ridge",
    )

    torch_class: ClassVar[type[torch.optim.Optimizer]]
    fused: ClassVar[bool] = False
    rated: ClassVar[bool] = True
    repeats: ClassVar[bool] = False
    full_batch: ClassVar[bool] = False
    curved: ClassVar[bool] = False
    closing: ClassVar[str] = ""
    changed: ClassVar[str] = ""
    memory: ClassVar[Mapping[str, str]] = {}

    def __init__(self) -> None:
        self.torch: torch.optim.Optimizer | None = None
        self._groups = Groups()
        self._held: dict[str, Any] = {}  # what the parameter groups hold
        self._resting: dict[Any, Any] = {}  # the state of weights that do not train now

    def settings(self) -> dict[str, Any]:
        """Return the live values as keys of a torch parameter group."""
        return {"lr": self.lr, "weight_decay": self.weight_decay}

    def build(self, groups: Groups) -> torch.optim.Optimizer:
        """Make the torch optimizer over ``groups``, or take over the user's own instance if it is one of this class."""
        self._groups = groups
        if type(groups.instance) is self.torch_class:
            self.torch = groups.begin()
            self._held = settings_of(self.torch)
        else:
            extra: dict[str, Any] = {"lr": self.lr} if self.rated else {}
            if self.fused and _can_fuse(groups.weights):
                extra["fused"] = True
            # The other settings follow below: a class of the user's may not take them all as arguments.
            self.torch = groups.make(self.torch_class, self.repeats, **extra)
            self._held = {} if groups.instance is not None else settings_of(self.torch)
        self.on_change("")
        return self.torch

    def set_rate(self, rate: float) -> None:
        """Use ``rate`` from now on, in each parameter group by its proportion to the largest."""
        if self.torch is not None and self.rated:
            for index, group in enumerate(self.torch.param_groups):
                put(group, "lr", self._groups.value(index, "lr", rate))

    def renew(self) -> None:
        """Give the parameter groups all live values, whatever was made of them."""
        self._held = {}
        self.on_change("")

    def on_change(self, name: str) -> None:
        """Bring the parameter groups up to date; what did not change stays as each group has it."""
        if self.torch is None:
            return
        settings = self.settings()
        for key, value in settings.items():
            if key not in self._held or value != self._held[key]:
                for index, group in enumerate(self.torch.param_groups):
                    put(group, key, self._groups.value(index, key, value))
        self._held.update(settings)

    def explain(self, name: str) -> str:
        """Say in words what a new value of ``name`` does that is not plain; "" if it is."""
        if name == "lr" and not self.rated:
            return _("no effect: {kind} finds its own learning rate", kind=type(self).__name__)
        return self._groups.explain(name)

    # -- what it remembers

    @property
    def state(self) -> dict[Any, Any]:
        """What is remembered of each weight, of those too that do not train now."""
        assert self.torch is not None
        return {**self.torch.state, **self._resting}

    def remember(self, state: Mapping[Any, Any]) -> None:
        """Remember ``state``, by weight, for those that train and those that do not; and nothing else."""
        assert self.torch is not None
        held = {id(weight) for group in self.torch.param_groups for weight in group["params"]}
        self._resting = {}
        for weight, own in state.items():
            if isinstance(weight, Tensor) and id(weight) not in held:
                self._resting[weight] = own
            else:
                self.torch.state[weight] = own

    def remember_only(self, state: Mapping[Any, Any]) -> None:
        """Remember ``state``, as `remember` does, and forget all else."""
        assert self.torch is not None
        self.torch.state.clear()
        self.remember(state)

    def follow(self) -> list[str]:
        """Step the weights that train now, and no others; return what was dropped for that, in words.

        What is remembered of a weight that rests waits for it. The user's own instance goes on with all the weights it
        was made with, and skips those that get no gradient.
        """
        assert self.torch is not None
        before, groups = self.state, self._groups.trained
        forget_sizes(self.torch)
        if self.torch is self._groups.instance:
            return []
        if self.repeats:  # what they remember is of all weights together
            self.build(self._groups)
            return self.remembered if before else []
        if new := [weight for group in groups for weight in group if weight not in before]:
            rate: dict[str, Any] = {"lr": self.lr} if self.rated else {}
            before.update(self.torch_class(new, **rate).state)  # some are made with one
        for group, weights in zip(self.torch.param_groups, groups, strict=True):
            group["params"] = weights
        self.remember_only(before)
        return []

    @property
    def remembered(self) -> list[str]:
        """What it remembers of each weight, in words."""
        return [_(text) for text in self.memory.values()]

    def take_over(self, earlier: Optimizer) -> tuple[list[str], list[str]]:
        """Go on with what ``earlier`` remembers, where it means the same.

        Returns
        -------
        kept, dropped : list of str
            In words.
        """
        if self.torch is None or earlier.torch is None or not earlier.state:
            return [], []
        if not self.memory or self.memory != earlier.memory:
            return [], earlier.remembered
        for weight, own in earlier.state.items():
            for key, value in own.items():
                # Where one of them is fused its step count is on the device.
                if isinstance(value, Tensor) and isinstance(weight, Tensor):
                    own[key] = value.to(weight.device)
        self.remember(earlier.state)
        return self.remembered, []

    def full_step(self, evaluate: Evaluate) -> Tensor:
        """Do a step of an optimizer that ``repeats``; return the loss before it.

        Parameters
        ----------
        evaluate : callable
            Evaluates loss and gradients of the step's samples where the weights are now, always with the same noise.
            Called with a function, that one gets the loss, with its graph, in the place of ``backward``.
        """
        raise NotImplementedError


def _can_fuse(params: Sequence[nn.Parameter]) -> bool:
    return all(p.is_floating_point() and p.device.type in ("cpu", "cuda", "mps") for p in params)
