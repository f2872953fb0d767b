"""How metrics read outputs and targets: which dimension has the classes, which labels count, what the numbers mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from nbopt.parts.loss_base import describe
from nbopt.parts.loss_traits import IGNORED, PROBABILITIES, UNKNOWN, Traits
from nbopt.words import _

_PROBABILITY_ENDS = ("Sigmoid", "Softmax", "Hardsigmoid")
_RESHAPING = ("Squeeze", "Unsqueeze", "View", "UnsafeView", "ReshapeAlias", "Select", "Slice", "Permute", "Transpose")
_PICKING = ("T", "Unbind", "Split", "Index", "Cat", "Stack", "Expand")
_PASSING = (*_RESHAPING, *_PICKING, "Clone", "ToCopy", "Alias", "Clamp", "ClampMin", "ClampMax")


class Reading:
    """Turns outputs and targets into what the named metrics take.

    What depends on loss and model is found on the first batch and stays: on later ones, it might look otherwise.

    Attributes
    ----------
    gives_probabilities : bool
        Whether outputs are probabilities; otherwise they are scores, above 0 for a yes.
    """

    def __init__(self, traits: Traits = UNKNOWN) -> None:
        self._traits = traits
        self.gives_probabilities = traits.scale == PROBABILITIES
        self._classes_last = False
        self._one_hot = False
        self._several = False

    @property
    def unusual(self) -> str:
        """How outputs differ from scores (n, classes, ...) or (n,), in words; "" if they do not."""
        unusual = {
            _("the outputs are probabilities"): self.gives_probabilities,
            _("their last dimension has the classes"): self._classes_last,
            _("each sample has several labels"): self._several,
            _("labels {label} do not count", label=self._traits.ignored): self._traits.ignored != IGNORED,
        }
        return next((words for words, holds in unusual.items() if holds), "")

    def learn(self, output: Any, target: Any, lose: Callable[[Tensor, Any], Tensor] | None = None) -> None:
        """Find out how this model's outputs are to be read.

        Parameters
        ----------
        output, target
            Of the first batch; the output with its graph, whose end tells probabilities from scores.
        lose : callable, optional
            ``lose(output, target)``, the loss: asked where shapes alone leave it open which dimension has the classes.
        """
        lose = lose if isinstance(output, Tensor) else None
        output = tensor_of(output)
        if output is None or not isinstance(target, Tensor):
            return
        self.gives_probabilities |= ends_in_probabilities(output)
        first, last = _fits(output, target, 1), _fits(output, target, -1)
        self._classes_last = last and not first
        if first and last and output.ndim > 2 and self._traits.classes_first is None:
            self._classes_last = lose is None or _sums_to_zero(lose, output, target) is not False
        if target.shape == output.shape and target.ndim > 1 and target.shape[1] > 1:
            sums = target.sum(1)
            shares = bool((target >= 0).all()) and torch.allclose(sums.double(), sums.new_ones(()).double(), atol=1e-3)
            self._one_hot = shares if self._traits.classes_first is None else self._traits.classes_first
        self._several = target.shape == output.shape and target[0].numel() > 1 and not self._one_hot

    def classes(self, output: Any, target: Any) -> tuple[Tensor, Tensor]:
        """Return scores and labels, without the samples whose labels do not count.

        Returns
        -------
        scores, labels : Tensor
            (m, classes) and (m,); of one score for each label, (m,) and (m,); of several labels a sample, each yes or
            no, (m, labels) and (m, labels), in which `IGNORED` stands for what does not count. Labels are int64.

        Raises
        ------
        ValueError
            If they are not tensors, or have shapes of other things.
        """
        output, target = self._tensors(output, target)
        axis = -1 if self._classes_last else 1
        if self._one_hot and target.shape == output.shape:
            target = target.argmax(axis)
        elif 1 < output.ndim == target.ndim and target.shape[axis] == 1 < output.shape[axis]:
            target = target.squeeze(axis)  # labels in a column
        if output.ndim > 1 and output.shape[axis] > 1 and _fits(output, target, axis):
            scores, labels = output.movedim(axis, -1).flatten(0, -2), target.flatten().long()
            kept = (labels != self._traits.ignored) & (labels != IGNORED)
            scores, labels = scores[kept], labels[kept]
            return (scores.double().log() if self.gives_probabilities else scores), labels
        scores, labels = output, self._marked(target)
        if output.shape != target.shape:
            if not _differ_by_axes_of_one(output, target):
                raise self._mismatch(output, target, _("one score for each class, or one for each label"))
            scores, labels = output.flatten(), labels.flatten()
        if scores.ndim > 1 and scores.shape[1] > 1:
            scores, labels = (part.movedim(1, -1).flatten(0, -2) for part in (scores, labels))
            kept = (labels != IGNORED).any(1)
        else:
            scores, labels = scores.flatten(), labels.flatten()
            kept = labels != IGNORED
        scores, labels = scores[kept], labels[kept]
        return (scores.double().logit() if self.gives_probabilities else scores), labels

    def numbers(self, output: Any, target: Any) -> tuple[Tensor, Tensor]:
        """Return outputs and targets as float64, (n, numbers of a sample).

        Raises
        ------
        ValueError
            If they are not tensors, or not of the same shape, but for axes of length 1.
        """
        output, target = self._tensors(output, target)
        if output.shape != target.shape and not _differ_by_axes_of_one(output, target):
            raise self._mismatch(output, target, _("one number for each"))
        columns = output.double().reshape(len(target), -1)
        return columns, target.double().reshape(columns.shape)

    def _marked(self, target: Tensor) -> Tensor:
        """Return labels as 0, 1 and `IGNORED`."""
        if target.is_floating_point():
            return torch.where(target == IGNORED, IGNORED, (target > 0.5).long())
        given = self._traits.ignored
        return torch.where((target == IGNORED) | (target == given), IGNORED, target.long())

    def _tensors(self, output: Any, target: Any) -> tuple[Tensor, Tensor]:
        found = tensor_of(output)
        if found is None or not isinstance(target, Tensor):
            what, value = (_("the output"), output) if found is None else (_("the target"), target)
            rule = _("it needs tensors, and {what} is {value}", what=what, value=describe(value))
            raise ValueError(_("{rule}: give a function of (output, target), or adapt forward.", rule=rule))
        if not found.ndim or not target.ndim:
            rule = _("there is nothing to measure in a single number, such as a loss that the model works out itself")
            given = _("the output is {output}, the target {target}", output=describe(found), target=describe(target))
            raise ValueError(_("{rule} ({given}): adapt forward.", rule=rule, given=given))
        return found.detach(), target

    def _mismatch(self, output: Tensor, target: Tensor, rule: str) -> ValueError:
        given = _("outputs {output} and targets {target}", output=describe(output), target=describe(target))
        return ValueError(_("{given} do not match: it needs {rule}.", given=given, rule=rule))


def tensor_of(output: Any) -> Tensor | None:
    """Return the tensor that metrics read: the output itself, or its ``logits``; None if there is none."""
    if isinstance(output, Tensor):
        return output
    found = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", None)
    return found if isinstance(found, Tensor) else None


def ends_in_probabilities(output: Any) -> bool:
    """Whether the last thing that a model did is a sigmoid or a softmax, as the graph of its output tells."""
    node = output.grad_fn if isinstance(output, Tensor) else None
    while node is not None:
        name = _operation(node)
        before = node.next_functions[0][0] if node.next_functions else None
        if name in _PROBABILITY_ENDS or (name == "Exp" and _operation(before) == "LogSoftmax"):
            return True
        if name not in _PASSING:
            return False
        node = before
    return False


def _operation(node: Any) -> str:
    return type(node).__name__.partition("Backward")[0].strip("_")


def _fits(output: Tensor, target: Tensor, axis: int) -> bool:
    """Whether a dimension of the output, which the labels do not have, may be the one of the classes."""
    if output.ndim != target.ndim + 1 or output.ndim < 2:
        return False
    sizes = list(output.shape)
    sizes.pop(axis)
    return sizes == list(target.shape)


def _differ_by_axes_of_one(output: Tensor, target: Tensor) -> bool:
    sizes = [[size for size in tensor.shape if size != 1] for tensor in (output, target)]
    return sizes[0] == sizes[1]


def _sums_to_zero(lose: Callable[[Tensor, Any], Tensor], output: Tensor, target: Tensor) -> bool | None:
    """Whether a loss has its classes in the last dimension, told by its gradient; None if that does not tell.

    Where one adds the same to the scores of all classes, a loss that compares classes stays the same: along them, and
    only along them, its gradient sums to zero.
    """
    with torch.enable_grad():
        scores = output.detach().clone().requires_grad_()
        (slope,) = torch.autograd.grad(lose(scores, target), scores, allow_unused=True)
    if slope is None:
        return None
    first, last = (float(slope.double().sum(axis).abs().max()) for axis in (1, -1))
    return None if max(first, last) < 10 * min(first, last) else last < first
