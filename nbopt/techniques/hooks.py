"""The hooks of techniques: when each is called, and how a script calls it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from nbopt.hyperparams import Tunable
from nbopt.techniques.own_step import OwnStep as OwnStep


class Hook(NamedTuple):
    """One hook.

    Attributes
    ----------
    name : str
        Of the method of a `nbopt.techniques.base.Technique`.
    when : str
        When it is called.
    call : str
        The line with which a script calls it, ``{hook}`` being the method; "" where scripts cannot hold it.
    idle : bool
        Whether it is called also while the technique has no effect.
    compiled : bool
        Whether it is called where several steps are done in one call of machine code, too.
    looks : bool
        Whether only looks at rest call it, as predictions: scripts have none.
    """

    name: str
    when: str
    call: str
    idle: bool = False
    compiled: bool = True
    looks: bool = False


HOOKS = {
    hook.name: hook
    for hook in (
        Hook("fit", "once, before it first acts, with the training inputs, if they are in memory", "{hook}(data[0])"),
        Hook("before_step", "before each step; of those done in one call, see `Technique.renews_every`", "{hook}()"),
        Hook("change_inputs", "before each forward pass, in validation too", "x = {hook}(x)", compiled=False),
        Hook("change_batch", "before each forward pass of a step", "x, y = {hook}(x, y)", compiled=False),
        Hook(
            "change_weights",
            "before each forward pass, in validation too: the weights that the model computes with",
            "weights = {hook}(weights)",
            compiled=False,
        ),
        Hook(
            "change_activations",
            "before each layer with matrices of weights, in validation too: what it gets",
            "x = {hook}(layer, x)",
            compiled=False,
        ),
        Hook(
            "calibrate", "before a forward pass that is none of a step, where change_activations acts", "", looks=True
        ),
        Hook("change_pass", "around forward pass and loss of a step", "do = partial({hook}, do)", compiled=False),
        Hook("change_every_pass", "around change_pass, and around forward pass and loss of a validation", ""),
        Hook(
            "change_loss",
            "after the forward pass of a step: the loss that is differentiated",
            "loss = {hook}($lose, output, target)",
            compiled=False,
        ),
        Hook("after_gradients", "between backward pass and update", "{hook}()", compiled=False),
        Hook(
            "change_rate",
            "once a step, just before the update: the learning rate it is to use",
            "rate = {hook}(rate, step, progress, done)",
        ),
        Hook(
            "change_groups",
            "after that: gives each of the optimizer's parameter groups a rate of its own",
            "",
            compiled=False,
        ),
        Hook("after_step", "after the update", "{hook}(loss.detach())"),
        Hook(
            "after_epoch",
            "when an epoch, or validate_every steps, are complete and validated, if there is a validation",
            "{hook}(val_loss)",
        ),
        Hook(
            "judge", "after that, where there is a validation: whether the weights are the best so far", "", idle=True
        ),
        Hook("propose", "between two steps, every so many: changes of hyperparameters, which are journaled", ""),
        Hook("end_reason", "between two steps, where something happened: whether the run is to end", ""),
        Hook("restores_best", "when the run has come to its end: whether the model gets its best weights back", ""),
        Hook("reopen", "when a run that ended is to go on", "", idle=True),
        Hook("losses_change", "when losses have another size from the next step on", "", idle=True),
        Hook("expect_loss", "at the first batch after that, whose output tells of what size", "", idle=True),
        Hook("largest_part", "after each change: how many samples go through the model at once", "", compiled=False),
        Hook("need_less", "when memory runs out in a step: what needs less of it", "", idle=True),
        Hook("find_trouble", "some 20 times a second, when losses are moved from the device", "", idle=True),
        Hook("lay_out", "whenever weights or what the optimizer keeps of them may be others", "", idle=True),
        Hook("replace_step", "after that: what takes the place of gradients and update of a step", "", compiled=False),
        Hook("before_first_step", "before the first step of a run", ""),
        Hook(
            "draws_now",
            "before each pass of a step: whether random numbers are drawn in it",
            "",
            compiled=False,
        ),
    )
}
"""All hooks by name: first those that a step calls, in order, then those that have to do with a run's course."""


def surround(changes: Iterable[Callable[..., Any]], do: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``do`` with what hooks put around it, the last one outermost."""
    for change in changes:
        do = partial(change, do)
    return do


class Hooks(Tunable):
    """The hooks as methods; a technique defines those that it needs, and the others are never called."""

    def fit(self, x: Tensor) -> None:
        """Learn what is needed from the training inputs (n, ...)."""

    def lay_out(self, optimizer: torch.optim.Optimizer) -> None:
        """Put the model's tensors, and those that the optimizer keeps of them, in order in memory."""
        raise NotImplementedError

    def replace_step(
        self, gradients: Callable[..., Tensor], optimizer: torch.optim.Optimizer, weights: Sequence[nn.Parameter]
    ) -> OwnStep | None:
        """Return what does the two halves of a step from now on; None where they are to be done as ever.

        Parameters
        ----------
        gradients : callable
            ``gradients(batch, step, keep, backward)`` computes the gradients of a batch's loss, by calling
            ``backward(loss)``, and returns that loss.
        optimizer : torch.optim.Optimizer
        weights : sequence of Parameter
            Those that get gradients.
        """
        raise NotImplementedError

    def before_first_step(self) -> None:
        """Do what comes before the first step."""
        raise NotImplementedError

    def draws_now(self) -> bool:
        """Return whether random numbers are drawn in the forward pass under way, which is then seeded by the step."""
        raise NotImplementedError

    def before_step(self) -> None:
        """Make ready what the step is to use."""
        raise NotImplementedError

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

    def change_activations(self, layer: str, x: Tensor) -> Tensor:
        """Return what a layer gets in the place of ``x``; ``layer`` is its name in the model."""
        raise NotImplementedError

    def calibrate(self, look: Callable[[], Any]) -> None:
        """Find out what `change_activations` needs; ``look()`` does a forward pass on the next training batch."""
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

    def judge(self, val_loss: float, step: int) -> bool:
        """Return whether these weights are the best so far, ``val_loss`` being their loss and ``step`` steps done."""
        raise NotImplementedError

    def end_reason(self) -> str:
        """Return why the run is to end now, in words; "" if it is not."""
        raise NotImplementedError

    def restores_best(self) -> bool:
        """Return whether the model is to have its best weights back, where a run has come to its end."""
        raise NotImplementedError

    def reopen(self) -> bool:
        """Go on with a run that ended, for as long again; return whether anything stood in the way."""
        raise NotImplementedError

    def losses_change(self, why: str) -> None:
        """Take note that losses have another size from the next step on.

        Parameters
        ----------
        why : str
            ``scale``: the same loss, measured otherwise; ``loss``: another one, and not to be compared with those
            before; ``weights``: they are others, put in by hand.
        """
        raise NotImplementedError

    def expect_loss(self, size: float, known: bool) -> None:
        """Take note, at the first batch after `losses_change`, of the loss of an output that knows nothing.

        Parameters
        ----------
        size : float
        known : bool
            Whether it is no guess.
        """
        raise NotImplementedError

    def find_trouble(self, losses: Sequence[float], sound: bool) -> int | None:
        """Return which of the losses of the last steps is the first gone wrong; None if none is.

        Parameters
        ----------
        losses : sequence of float
        sound : bool
            Whether the weights are numbers after all of them.
        """
        raise NotImplementedError

    def propose(self) -> dict[str, Any]:
        """Return changes of hyperparameters, to be made before the next step; asked each ``proposes_every`` steps.

        Raises
        ------
        ValueError
            If it cannot tell now, in words: this ends a run before its first step, and is told later.
        """
        raise NotImplementedError

    def largest_part(self) -> int:
        """Return how many samples are to go through the model at once; 0 for all of them."""
        raise NotImplementedError

    def need_less(self, samples: int) -> dict[str, Any]:
        """Return changes of hyperparameters by which a step on so many samples needs less memory."""
        raise NotImplementedError
