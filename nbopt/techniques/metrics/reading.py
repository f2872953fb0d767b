"""How metrics read outputs and targets: which dimension has the classes, which labels count, what the numbers mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from nbopt.i18n import _
from nbopt.techniques.losses.base import describe
from nbopt.techniques.losses.probes import Lose, aims_at_targets, ignored_label, sums_to_zero
from nbopt.techniques.losses.traits import IGNORED, PROBABILITIES, UNKNOWN, Traits

_PROBABILITY_ENDS = ("Sigmoid", "Softmax", "Hardsigmoid")
_ENOUGH = 8  # outputs, of which not all lie between 0 and 1 by chance
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
    middle : float
        The score above which it is a yes.
    doubt : str
        Why that may be wrong, in words; "" where nothing speaks against it.
    """

    def __init__(self, traits: Traits = UNKNOWN) -> None:
        self._traits = traits
        self.gives_probabilities = traits.scale == PROBABILITIES
        self.middle = 0.0
        self.doubt = ""
        self._unlabelled = ""
        self._ignored = traits.ignored
        self._outside = False
        self._classes_last = False
        self._one_hot = False
        self._several = False

    @property
    def unusual(self) -> str:
        """How outputs differ from scores (n, classes, ...) or (n,), in words; "" if they do not."""
        unusual = {
            _("the outputs are probabilities"): self.gives_probabilities,
            _("the outputs are to be the targets, 0 and 1"): bool(self.middle),
            _("their last dimension has the classes"): self._classes_last,
            _("each sample has several labels"): self._several,
            _("labels {label} are ignored", label=self._ignored): self._ignored != IGNORED,
            _("labels that are not classes are ignored"): self._outside,
        }
        return next((words for words, holds in unusual.items() if holds), "")

    def learn(self, output: Any, target: Any, lose: Lose | None = None) -> None:
        """Find out how this model's outputs are to be read.

        Parameters
        ----------
        output, target
            Of the first batch; the output with its graph, whose end tells probabilities from scores.
        lose : callable, optional
            ``lose(output, target)``, the loss: asked where shapes alone leave it open which dimension has the classes,
            and where it is not known which labels do not count.
        """
        lose = lose if isinstance(output, Tensor) else None
        output = tensor_of(output)
        if output is None or not isinstance(target, Tensor) or output.is_complex() or target.is_complex():
            return
        self.gives_probabilities |= ends_in_probabilities(output)
        first, last = _fits(output, target, 1), _fits(output, target, -1)
        self._classes_last = last and not first
        if first and last and output.ndim > 2 and self._traits.classes_first is None:
            self._classes_last = lose is None or sums_to_zero(lose, output, target) is not False
        if target.shape == output.shape and target.ndim > 1 and target.shape[1] > 1:
            sums = target.sum(1)
            shares = bool((target >= 0).all()) and torch.allclose(sums.double(), sums.new_ones(()).double(), atol=1e-3)
            self._one_hot = shares if self._traits.classes_first is None else self._traits.classes_first
        self._several = target.shape == output.shape and target[0].numel() > 1 and not self._one_hot
        axis = -1 if self._classes_last else 1
        if _fits(output, target, axis) and output.shape[axis] > 1:
            self._learn_of_classes(output.detach(), target, axis, lose)
        elif self._is_aimed(output.detach(), target, lose):
            self._learn_of_numbers(target)
        elif not self.gives_probabilities and not self._one_hot and not self._traits.scale:
            self._doubt(output.detach())

    def _learn_of_classes(self, output: Tensor, target: Tensor, axis: int, lose: Lose | None) -> None:
        """Find out what only a loss of which nothing is known leaves open."""
        if not self._traits.scale and output.is_floating_point():
            sums = output.double().sum(axis)
            self.gives_probabilities |= bool((output >= 0).all()) and bool(((sums - 1).abs() < 1e-4).all())
        if self._traits.reduction or target.is_floating_point():
            return
        if lose is not None and (found := ignored_label(lose, output, target, axis)) is not None:
            self._ignored = found
        counted = target[(target != IGNORED) & (target != self._ignored)]
        self._outside = bool(((counted < 0) | (counted >= output.shape[axis])).any())

    def _is_aimed(self, output: Tensor, target: Tensor, lose: Lose | None) -> bool:
        """Whether outputs are to be the targets themselves."""
        asked = lose is not None and not (self.gives_probabilities or self._one_hot or self._traits.scale)
        alike = output.shape == target.shape or _differ_by_axes_of_one(output, target)
        return asked and alike and output.is_floating_point() and aims_at_targets(lose, output, target)  # type: ignore[arg-type]

    def _learn_of_numbers(self, target: Tensor) -> None:
        """Find out what a yes is where outputs are to be the targets: 0 and 1, -1 and 1, or no labels at all."""
        numbers = target[target != IGNORED].double()
        signs = bool((numbers.abs() == 1).all()) and bool((numbers < 0).any())
        if bool(((numbers >= 0) & (numbers <= 1)).all()):
            self.middle = 0.5
        elif not signs:
            low, high = float(numbers.min()), float(numbers.max())
            self._unlabelled = _("the targets are numbers from {low:.4g} to {high:.4g}", low=low, high=high)

    def _doubt(self, output: Tensor) -> None:
        within = output.numel() >= _ENOUGH and bool(((output > 0) & (output < 1)).all())
        if within and bool((output != output.flatten()[0]).any()):
            rule = _("classification metrics read outputs as scores, above 0 for yes, and these all lie within 0 and 1")
            way = _("end the model in torch.sigmoid, take a loss of probabilities (nn.BCELoss), or give a function")
            self.doubt = _("{rule}: where they are probabilities, {way}.", rule=rule, way=way)

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
        if self._unlabelled:
            rule = _("it needs labels, and {targets}", targets=self._unlabelled)
            raise ValueError(_("{rule}: r2, mae and rmse measure numbers.", rule=rule))
        axis = -1 if self._classes_last else 1
        if self._one_hot and target.shape == output.shape:
            target = target.argmax(axis)
        elif 1 < output.ndim == target.ndim and target.shape[axis] == 1 < output.shape[axis]:
            target = target.squeeze(axis)  # labels in a column
        if output.ndim > 1 and output.shape[axis] > 1 and _fits(output, target, axis):
            scores, labels = output.movedim(axis, -1).flatten(0, -2), target.flatten().long()
            kept = (labels != self._ignored) & (labels >= 0) & (labels < scores.shape[1])
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
        return (scores.double().logit() if self.gives_probabilities else scores - self.middle), labels

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
        given = self._ignored
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
