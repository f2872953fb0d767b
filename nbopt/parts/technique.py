"""What acts in a training step: the one mechanism behind penalties, clipping, schedules, noise and augmentation.

A technique derives from `Technique`, declares its hyperparameters and defines the hooks it needs::

    class MaxNorm(Technique):
        max_norm = Float(0.0, low=0.1, high=10.0, ...)

        @property
        def acts(self) -> bool:
            return self.max_norm > 0

        def after_step(self, loss: Tensor) -> None:
            ...

and stands in `nbopt.parts.catalogue.PARTS`. Engine, snapshots, panel and exported script need to know no more. A script
holds the class as it is written here, so hooks keep to plain Python and torch: no ``super()``, lines of 80 characters.

======================  ==================================================================================
hook                    called
======================  ==================================================================================
``fit(x)``              once, before it first acts, with the training inputs, if they are in memory
``change_inputs(x)``    before each forward pass, in validation too
``change_batch(x, y)``  before each forward pass of a step; what it draws follows from (seed, step)
``change_pass(...)``    around forward pass and loss, in validation too
``change_loss(...)``    after the forward pass of a step: the loss that is differentiated
``after_gradients()``   between backward pass and update
``change_rate(...)``    once a step, just before the update: the learning rate it is to use
``change_groups(...)``  after that: gives each of the optimizer's parameter groups a rate of its own
``after_step(loss)``    after the update
``after_epoch(...)``    when an epoch is complete and its validation, if any, done; or ``validate_every`` steps
======================  ==================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from nbopt.hyperparams import Tunable


class Technique(Tunable):
    """Base of what acts in a step. Hooks that a class does not define cost nothing.

    Parameters
    ----------
    weights : sequence of Parameter
        All that the run trains.

    Attributes
    ----------
    memory : tuple of str
        Attributes that hold the part's state: tensors, lists of tensors, or what JSON can hold. Snapshots keep them,
        and a strategy swapped in takes over those of the same name.
    compiles : bool
        Whether the compiled step does what this part does; where any other part acts, steps stay eager.
    unwritten : str
        Why a script cannot hold this part, in words; "" if it can.
    """

    memory: ClassVar[tuple[str, ...]] = ()
    compiles: ClassVar[bool] = False
    unwritten: ClassVar[str] = ""

    def __init__(self, weights: Sequence[nn.Parameter]) -> None:
        self.weights = weights

    def train(self, weights: Sequence[nn.Parameter]) -> None:
        """Act on ``weights`` from now on: some were frozen or unfrozen."""
        self.weights = weights

    @property
    def acts(self) -> bool:
        """Whether the present values have any effect; asked after each change, not in each step."""
        return True

    @classmethod
    def unfit(cls, x: Tensor | None) -> str:
        """Return why the part cannot act on these training inputs, in words; "" if it can.

        Parameters
        ----------
        x : Tensor or None
            All of them, (n, ...); None if they are not in memory.
        """
        return ""

    def fit(self, x: Tensor) -> None:
        """Learn what is needed from the training inputs (n, ...)."""

    def change_inputs(self, x: Tensor) -> Tensor:
        """Return the inputs that the model gets, in training and validation."""
        raise NotImplementedError

    def change_batch(self, x: Tensor, y: Any) -> tuple[Tensor, Any]:
        """Return inputs and targets of a training step."""
        raise NotImplementedError

    def change_pass(self, do: Any, batch: Any) -> tuple[Any, Any, Tensor]:
        """Return outputs, targets and loss of a batch; ``do(batch)`` is what they would be."""
        raise NotImplementedError

    def change_loss(self, lose: Any, output: Any, target: Any) -> Tensor:
        """Return the loss of a training batch; ``lose(output, target)`` is what it would be."""
        raise NotImplementedError

    def after_gradients(self) -> None:
        """Act on the gradients."""
        raise NotImplementedError

    def change_rate(self, rate: float, step: int, epoch: float, done: float) -> float:
        """Return the learning rate that the update is to use.

        Parameters
        ----------
        rate : float
            The base rate, as the parts before this one changed it.
        step : int
            Steps done.
        epoch : float
            Epochs done, the current one counted in part.
        done : float
            The part of the run that is done, from 0 to 1, see `nbopt.parts.plan`.
        """
        raise NotImplementedError

    def change_groups(self, groups: Sequence[dict[str, Any]]) -> None:
        """Change the settings of the optimizer's parameter groups, which have the rate that the update is to use."""
        raise NotImplementedError

    def after_step(self, loss: Tensor) -> None:
        """Act on the weights, or take note of the batch's loss, a scalar."""
        raise NotImplementedError

    def after_epoch(self, val_loss: float | None) -> None:
        """Take note of a validation and its loss; where there is no validation, of an epoch's end and None."""
        raise NotImplementedError


HOOKS = (
    "change_inputs",
    "change_batch",
    "change_pass",
    "change_loss",
    "after_gradients",
    "change_rate",
    "change_groups",
    "after_step",
    "after_epoch",
)


def defines(kind: type[Technique], hook: str) -> bool:
    """Return whether a class of parts has a hook of its own."""
    return getattr(kind, hook) is not getattr(Technique, hook)
