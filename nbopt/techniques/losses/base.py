"""What all losses share: each knows what outputs and targets it can take, to tell a mismatch in the user's words."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nbopt.data.places import Place, keys_of
from nbopt.data.tree import tensors, tree_map
from nbopt.i18n import N_, _
from nbopt.techniques.base import Technique
from nbopt.techniques.context import Setting
from nbopt.techniques.losses.traits import UNKNOWN, Traits

GROUP = N_("Loss")


class Loss(Technique):
    """A loss of (output, target): the mean over the batch.

    Attributes
    ----------
    task : str
        Losses of one task can be swapped for each other mid-run.
    draws : bool
        Whether it may draw random numbers.
    source : str
        The loss as an expression in a script; ``{target}`` and hyperparameters are filled in.
    functions : tuple of callable
        Functions of nbopt that ``source`` calls.
    training_only : tuple of str
        Hyperparameters that regularize: they do not act in validation.
    traits : Traits
        What is known of it beside its value.
    modules : mapping of str to torch.nn.Module
        Those it is made of, by a name that begins with ``loss``: they may have weights, which are trained.
    latest : sequence of Tensor
        What the parts of the last pass were, if each has a curve.
    """

    task: ClassVar[str] = "custom"
    draws: ClassVar[bool] = False
    source: ClassVar[str] = ""
    functions: ClassVar[tuple[Callable[..., Any], ...]] = ()
    training_only: ClassVar[tuple[str, ...]] = ()
    traits: ClassVar[Traits] = UNKNOWN
    modules: ClassVar[Mapping[str, nn.Module]] = {}
    latest: Sequence[Tensor] = ()

    @property
    def parts(self) -> Mapping[Place, Loss]:
        """The losses that it is made of, by the place of the output that each takes: one, unless outputs have names."""
        return {(): self}

    def prepare(self, output: Tensor, target: Any) -> Any:
        """Return ``target`` in the shape and dtype that the loss needs; called every step, so cheap."""
        return target

    def check(self, output: Any, target: Any) -> None:
        """Raise ValueError, naming both shapes, where the loss cannot work on these; it is not worked out."""

    def explain(self, output: Any, target: Any) -> None:
        """Raise ValueError where the loss failed on these, in the user's words, if it knows why."""
        self.check(output, target)

    def __call__(self, output: Tensor, target: Any) -> Tensor:
        """Return the loss, a scalar; ``target`` comes from `prepare`."""
        raise NotImplementedError

    def measure(self, output: Tensor, target: Any) -> Tensor:
        """Return the loss as validation shows it: a scalar, or one number for each of `parts`."""
        return self(output, target)

    def measure_of_many(self, output: Tensor, target: Any) -> Tensor:
        """Return what `measure` does but for rounding, where `torch.func.vmap` calls it for many runs at once."""
        return self.measure(output, target)

    def total(self, measured: Any) -> Any:
        """Return what `measure` returned as one number."""
        return measured

    def judged(self, measured: Mapping[str, float]) -> float:
        """Return what a validation is judged by, of all that it measured."""
        return measured["val_loss"]

    def is_judged_anew(self, name: str) -> bool:
        """Whether what validations were judged by is not comparable any more, now that a hyperparameter changed."""
        return False

    @classmethod
    def find_inert(cls, setting: Setting) -> dict[str, str]:
        """Return which of its hyperparameters cannot act in a run, each with the reason."""
        return {}

    def note_part(self, share: float) -> None:
        """Take note that the last pass was that of a part of the batch."""

    def note_evaluation(self) -> None:
        """Take note that the loss of the step was evaluated, perhaps not for the last time."""

    @property
    def has_settings(self) -> bool:
        """Whether hyperparameters of its own act."""
        return bool(self.declared())

    def discard(self) -> None:
        """Forget what was noted in a step that did not come about."""

    @classmethod
    def written(cls, names: Mapping[str, str]) -> str:
        """Return `source`, filled in.

        Parameters
        ----------
        names : mapping
            What the script calls the target and the hyperparameters; "" for what is zero all the time.
        """
        return cls.source.format(**names)


class Elementwise(Loss):
    """What losses that compare outputs and targets number by number share."""

    name: ClassVar[str] = ""
    traits = Traits("mean", "numbers", elementwise=True)

    def prepare(self, output: Tensor, target: Any) -> Any:
        """Return ``target`` in the output's shape and dtype."""
        if target.shape != output.shape:
            target = align(self.name, output, target)
        if target.dtype == output.dtype:
            return target
        # Under autocast outputs may have 16 bits, and losses are done in 32: the target is not to be rounded.
        wide = torch.is_autocast_enabled(output.device.type)
        return target.to(torch.float32 if wide else output.dtype)

    def check(self, output: Any, target: Any) -> None:
        """Raise ValueError where there is not one number for each."""
        need_tensors(self.name, output, target)
        align(self.name, output, target)


def align(name: str, output: Tensor, target: Tensor) -> Tensor:
    """Return ``target`` in the output's shape; a (n,) target against an (n, 1) output would broadcast to (n, n).

    Raises
    ------
    ValueError
        If their shapes differ by more than axes of length 1 that come or go: the numbers would not stand against those
        that they belong to.
    """
    if target.shape == output.shape:
        return target
    sizes = [[size for size in tensor.shape if size != 1] for tensor in (output, target)]
    if sizes[0] != sizes[1]:
        raise mismatch(name, output, target, _("it compares them number by number"))
    return target.reshape(output.shape)


def usual_size(loss: Loss, output: Any, target: Any) -> tuple[float, bool]:
    """Return how large a loss is where nothing was learnt, and whether that is known.

    It is known of nbopt's losses: that of an output of zeros. A function of the user's is not called without need; the
    mean square of targets that are no whole numbers, and at least 1, stands for its size.
    """
    with torch.no_grad():
        if not loss.draws:
            zeros = tree_map(_zeros, output)
            return float(loss.total(loss.measure(zeros, loss.prepare(zeros, target)))), True
        floats = [column for column in tensors(target) if column.is_floating_point()]
        squares = [float(column.double().square().nanmean()) for column in floats]
        return max([1.0, *filter(math.isfinite, squares)]), False


def _zeros(output: Tensor) -> Tensor:
    return torch.zeros_like(output, dtype=torch.promote_types(output.dtype, torch.float32))


def need_tensors(name: str, output: Any, target: Any) -> None:
    """Raise ValueError unless output and target are tensors."""
    for what, value in ((_("the model's output"), output), (_("the target"), target)):
        if isinstance(value, Tensor):
            continue
        rule = _("{name} needs tensors; {what} is {value}", name=name, what=what, value=describe(value))
        way = _("Give forward=callable(model, batch) -> (output, target)")
        if keys := keys_of(value):
            way += _(", or a loss for each output, as in loss={{{key!r}: {name!r}}}", key=keys[0], name=name)
        raise ValueError(f"{rule}. {way}.")


def mismatch(name: str, output: Tensor, target: Tensor, rule: str) -> ValueError:
    """Return the error for outputs and targets that do not go together."""
    return ValueError(
        _(
            "{name}: outputs {output} and targets {target} do not match: {rule}.",
            name=name,
            output=describe(output),
            target=describe(target),
            rule=rule,
        )
    )


def describe(value: Any) -> str:
    """Return shape and dtype of a tensor, or what kind of thing it is."""
    if isinstance(value, torch.Tensor):
        return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
    return type(value).__name__
