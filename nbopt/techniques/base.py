"""What acts in a training step: the one mechanism behind penalties, clipping, schedules, noise and augmentation.

A technique derives from `Technique`, declares its hyperparameters and defines the hooks it needs::

    class MaxNorm(Technique):
        max_norm = Float(0.0, low=0.1, high=10.0, ...)

        @property
        def acts(self) -> bool:
            return self.max_norm > 0

        def after_step(self, loss: Tensor) -> None:
            ...

and stands in `nbopt.techniques.catalogue.PARTS`, or is given to a run: ``Run(..., techniques=[MaxNorm])``. Engine,
snapshots, panel and exported script need to know no more. A script holds the class as it is written, so hooks keep to
plain Python and torch: no ``super()``, lines of 80 characters.

`nbopt.techniques.hooks.HOOKS` tells when each hook is called. What is drawn in ``change_batch``, and in the hooks
around the forward pass of a technique that says that it ``draws``, follows from (seed, step).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from nbopt.hyperparams import Tunable
from nbopt.i18n import _
from nbopt.techniques.context import Context
from nbopt.techniques.hooks import HOOKS


class Technique(Tunable):
    """Base of what acts in a step. Hooks that a class does not define cost nothing.

    A class of one's own may take what it needs when it is made, as a teacher: ``Run(..., techniques=[Distill(net)])``.
    Each run makes one of its own with the same arguments; modules among them are moved to the run's device and shared.

    Parameters
    ----------
    *arguments, **settings
        Of a class that takes any.

    Attributes
    ----------
    weights : sequence of Parameter
        All that the run trains; not there yet while the technique is made.
    context : nbopt.techniques.context.Context
        What else there is to know of the run.
    memory : tuple of str
        Attributes that hold the technique's state: tensors, lists of tensors, or what JSON can hold. Snapshots keep
        them, and a strategy swapped in takes over those of the same name.
    measures : tuple of str
        Names of the curves that it draws by ``self.context.measure(name, value)``.
    draws : bool
        Whether `change_pass` or `change_loss` draw random numbers.
    compiles : bool
        Whether the compiled step does what this technique does; where any other one acts, steps stay eager. Of its
        hooks it calls ``change_rate``, for all steps of a call before the first, and ``after_step``, once all are done:
        what compiles finds the rate by the arguments alone and what no step changes, and only takes note of losses.
    unwritten : str
        Why a script cannot hold this technique, in words; "" if it can.

    Examples
    --------
    >>> import nbopt
    >>> class SignDescent(nbopt.Technique):
    ...     signs = nbopt.Flag(False, label="Signs", group="Optimizer", help="Only the signs of gradients count.")
    ...
    ...     @property
    ...     def acts(self):
    ...         return self.signs
    ...
    ...     def after_gradients(self):
    ...         for weight in self.weights:
    ...             if weight.grad is not None:
    ...                 weight.grad.sign_()
    >>> import torch
    >>> x, y = torch.randn(8, 2), torch.tensor([0, 1] * 4)
    >>> run = nbopt.Run(torch.nn.Linear(2, 2), (x, y), techniques=[SignDescent], signs=True, epochs=1, store=None)
    >>> run.fit().state.name
    'FINISHED'
    """

    weights: Sequence[nn.Parameter] = ()
    context: Context
    made_with: tuple[tuple[Any, ...], dict[str, Any]]
    memory: ClassVar[tuple[str, ...]] = ()
    measures: ClassVar[tuple[str, ...]] = ()
    draws: ClassVar[bool] = False
    compiles: ClassVar[bool] = False
    unwritten: ClassVar[str] = ""

    def __new__(cls, *arguments: Any, **settings: Any) -> Self:
        """Make a technique, and remember of what: each run makes one like it."""
        if cls.__init__ is object.__init__ and (arguments or settings):
            raise TypeError(_("{name}() takes no arguments.", name=cls.__name__))
        made = super().__new__(cls)
        made.made_with = arguments, settings
        return made

    def another(self) -> Self:
        """Return one like it, that has not acted yet."""
        arguments, settings = self.made_with
        return type(self)(*arguments, **settings)

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

    def change_weights(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return what the model is to compute with in the place of its weights, by name: masked, rounded or averaged.

        Gradients reach the weights through what is returned; the weights themselves stay.
        """
        raise NotImplementedError

    def change_pass(self, do: Any, batch: Any) -> tuple[Any, Any, Tensor]:
        """Return outputs, targets and loss of a training batch; ``do(batch)`` is what they would be.

        ``do`` may be called more than once, on other batches than this one.
        """
        raise NotImplementedError

    def change_every_pass(self, do: Any, batch: Any) -> tuple[Any, Any, Tensor]:
        """Return the same of any batch, whether it is trained on or not."""
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
            The part of the run that is done, from 0 to 1, see `nbopt.techniques.plan`.
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


def defines(kind: type[Technique], hook: str) -> bool:
    """Return whether a class of parts has a hook of its own."""
    return getattr(kind, hook) is not getattr(Technique, hook)


def hooks_of(kind: type[Technique]) -> list[str]:
    """Return the hooks that a class defines, in the order in which a step calls them."""
    return [name for name in HOOKS if defines(kind, name)]


def compiles(part: Technique) -> bool:
    """Return whether the compiled step does what a technique does; what a class says holds for no hooks added since."""
    for kind in type(part).__mro__:
        if "compiles" in vars(kind):
            return part.compiles
        if any(hook in vars(kind) for hook in HOOKS):
            break
    return False
