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

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from nbopt.hyperparams import Hyperparam
from nbopt.i18n import _
from nbopt.techniques.context import Context, Setting
from nbopt.techniques.hooks import HOOKS, Hooks
from nbopt.techniques.own_lines import OwnLines, Told


class Technique(Hooks):
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
        Whether the compiled step does what this technique does; where any other acts, steps stay eager. Of the hooks in
        a step it calls ``before_step``, before the first, see `renews_every`, ``change_rate``, for all steps of a call,
        and ``after_step``, once all are done: what compiles finds the rate by the arguments alone and what no step
        changes, and only takes note of losses; `nbopt.techniques.promises` looks whether it can.
    unwritten : str
        Why a script cannot hold this technique, in words; "" if it can.
    of_model : tuple of str
        Hyperparameters whose values every model of the kind brings: a recipe says nothing of them unless they were set.
    off : mapping of str to Any
        Values by which it does nothing to the course of a run, as where learning rates are tried.
    at_once : mapping of str to Any
        Values by which it acts fully from the next step on, where it would else do so little by little.
    weight_settings : tuple of str
        What hyperparameters `apply_operand` gets.
    gradients_of_many : callable, optional
        ``after_gradients`` of many runs at once, a static method ``(weights, gradients, values)``: lists of tensors
        (runs, ...), of which the gradients are to be changed, and by the name of each hyperparameter a tensor (runs,),
        0 for those in which the technique has no effect. Without it, each is acted on by itself.

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
    made_with: tuple[tuple[Any, ...], Mapping[str, Any]] = (), {}
    memory: ClassVar[tuple[str, ...]] = ()
    measures: ClassVar[tuple[str, ...]] = ()
    draws: ClassVar[bool] = False
    compiles: ClassVar[bool] = False
    unwritten: ClassVar[str] = ""
    of_model: ClassVar[tuple[str, ...]] = ()
    off: ClassVar[Mapping[str, Any]] = {}
    at_once: ClassVar[Mapping[str, Any]] = {}
    weight_settings: ClassVar[tuple[str, ...]] = ()
    gradients_of_many: ClassVar[Any] = None

    def __new__(cls, *arguments: Any, **settings: Any) -> Self:
        """Make a technique, and remember of what: each run makes one like it."""
        made = super().__new__(cls)
        if arguments or settings:
            if cls.__init__ is object.__init__:
                raise TypeError(_("{name}() takes no arguments.", name=cls.__name__))
            made.made_with = cls.take(arguments, settings)
        return made

    @classmethod
    def take(cls, arguments: tuple[Any, ...], settings: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return what each run makes one of its own with: what was given, or what stands for it."""
        return arguments, settings

    def another(self) -> Self:
        """Return one like it, that has not acted yet."""
        return type(self)(*self.made_with[0], **self.made_with[1])

    def train(self, weights: Sequence[nn.Parameter]) -> None:
        """Act on ``weights`` from now on: some were frozen or unfrozen."""
        self.weights = weights

    @property
    def acts(self) -> bool:
        """Whether the present values have any effect; asked after each change, not in each step."""
        return True

    # -- what it says of a run, before there is a step

    @classmethod
    def declared_for(cls, setting: Setting) -> Mapping[str, Hyperparam[Any]]:
        """Return the declarations as a run has them, where model or device leave less than all."""
        return cls.declared()

    @classmethod
    def bring(cls, setting: Setting) -> dict[str, Any]:
        """Return values that a run begins with unless they are given, as the model brings them."""
        return {}

    @classmethod
    def imply(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return values that a run begins with unless they are given, as others that are given imply them."""
        return {}

    @classmethod
    def find_several(cls, model: nn.Module) -> set[str]:
        """Return the hyperparameters that the model has several values of: setting one to what is shown still acts."""
        return set()

    @classmethod
    def unfit_for(cls, setting: Setting) -> str:
        """Return why it cannot act in such a run, whatever the data, in words; "" if it can."""
        return ""

    @classmethod
    def unfit(cls, x: Tensor | None) -> str:
        """Return why the part cannot act on these training inputs, in words; "" if it can.

        Parameters
        ----------
        x : Tensor or None
            All of them, (n, ...); None if they are not in memory.
        """
        return ""

    @classmethod
    def own_lines(cls, told: Told) -> OwnLines | None:
        """Return the lines that a script has in the place of the class; None if it holds the class as it is written.

        Raises
        ------
        ValueError
            If a script cannot repeat what it did.
        """
        return None

    def check_outputs(self, output: Any, batch: Any) -> None:
        """Look at a model's outputs, before their loss, in the first pass after each change.

        Raises
        ------
        ValueError
            If it cannot act on such, in words; scripts leave this out.
        """

    @property
    def needs_outputs(self) -> bool:
        """Whether `check_outputs` has something to look at, with the values as they are: it costs a pass in a pause."""
        return True

    # -- what it says of itself, while it acts

    @property
    def obstacle(self) -> str:
        """Why the compiled step cannot do what this does now, in words; "" where it can."""
        return "" if compiles(self) else _("{name} acts", name=type(self).__name__)

    @property
    def by_hand(self) -> dict[str, Any]:
        """What the user may change by hand in a pause, by what it is called in words."""
        return {}

    @property
    def proposes_every(self) -> int:
        """Every how many steps `propose` is asked; 0 for never."""
        return 0

    @property
    def moves_by(self) -> str:
        """By what it has the rate move: ``epochs``, ``length``, that of the run, or else, ""."""
        return ""

    @property
    def sign_pull(self) -> float:
        """What multiple of the signs of weights with two dimensions or more it adds to their gradients."""
        return 0.0

    @property
    def weight_operands(self) -> Mapping[str, Tensor]:
        """What `apply_operand` takes beside a weight, by its name, where `change_weights` does no more: it is compiled.

        Only where a hyperparameter changes are there other names, shapes or types.
        """
        return {}

    @staticmethod
    def apply_operand(weight: Tensor, operand: Tensor, *settings: Any) -> Tensor:
        """Return what `change_weights` makes of a weight, by its operand and `weight_settings` alone: a product."""
        return weight * operand

    @property
    def renews_every(self) -> int:
        """At the multiples of how many steps `before_step` may do something; 0 for none. It is called before others.

        With `weight_operands` and no ``after_step``, it is called within rows of compiled steps, on weights and memory.
        """
        return 1

    @property
    def is_coarse(self) -> bool:
        """Whether what is computed around it now is as coarse as numbers of 16 bits are."""
        return False

    def grids(self, weights: Mapping[str, Tensor]) -> Mapping[str, tuple[Tensor, Tensor | None, int]]:
        """Return scale, zero point and bits of the grids that ``change_weights`` puts some of ``weights`` on."""
        return {}

    @property
    def facts(self) -> list[tuple[str, str]]:
        """What the panel tells of it beside the run's progress: names and values."""
        return []

    @classmethod
    def recall(cls, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Return its memory from a snapshot of an earlier version, which kept it among the run's own ``facts``."""
        return {}

    @classmethod
    def is_memory(cls, memory: Mapping[str, Any]) -> bool:
        """Whether what was read from a file, of what JSON can hold, may be its memory."""
        return True


def called(kind: type[Technique]) -> str:
    """Return what the journal calls a technique that asks for a change: its first hyperparameter, or else its class."""
    return next(iter(kind.declared()), kind.__name__)


def defines(kind: type[Technique], name: str) -> bool:
    """Return whether a class has a hook, or anything else that `Technique` has, of its own."""
    return getattr(kind, name) is not getattr(Technique, name)


def hooks_of(kind: type[Technique]) -> list[str]:
    """Return the hooks that a class defines, in the order in which a step calls them."""
    return [name for name in HOOKS if defines(kind, name)]


def compiles(part: Technique) -> bool:
    """Return whether the compiled step does what a technique does; what a class says holds for no hooks added since."""
    says = next(kind for kind in type(part).__mro__ if "compiles" in vars(kind) or HOOKS.keys() & vars(kind).keys())
    return "compiles" in vars(says) and part.compiles
