"""Losses of classification, with one score a class or, for two classes, a single one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from nbopt.hyperparams import Float
from nbopt.i18n import N_, _
from nbopt.techniques.losses.base import GROUP, Elementwise, Loss, mismatch, need_tensors
from nbopt.techniques.losses.traits import SCORES, Traits

MARGIN = Float(
    1.0,
    low=0.1,
    high=10.0,
    log=True,
    gt=0.0,
    label=N_("Margin"),
    group=GROUP,
    help=N_("Lead of the right class's score over the others at which the hinge loss becomes 0."),
)
GAMMA = Float(
    2.0,
    low=0.0,
    high=5.0,
    ge=0.0,
    label=N_("Focus γ"),  # noqa: RUF001
    group=GROUP,
    help=N_("How strongly samples that are already classified well are down-weighted; 0 is the cross-entropy."),
)

_FEW_CLASSES = 16  # as many numbers as the widest vectors hold: over fewer, torch takes logarithms one by one


class ByClass(Loss):
    """What losses of scores (n, classes, ...) and class indices (n, ...), int64, share."""

    task = "classification"
    name: ClassVar[str] = ""
    soft: ClassVar[bool] = False  # whether probabilities may stand for class indices
    ignores: ClassVar[bool] = True  # whether labels of -100 do not count
    traits = Traits("mean", "numbers", classes_first=True, scale=SCORES)

    def check(self, output: Any, target: Any) -> None:
        """Raise ValueError for other shapes, or labels that are no class."""
        need_tensors(self.name, output, target)
        if output.ndim < 2:
            rule = _("it needs one score per class: outputs (samples, classes)")
            raise mismatch(self.name, output, target, rule)
        classes = output.shape[1]
        if target.is_floating_point():
            if target.shape != output.shape or not self.soft:  # probabilities are taken as they are
                rule = _("it needs class indices as integers")
                rule += _(", or one probability per class") if self.soft else ""
                raise mismatch(self.name, output, target, rule)
            return
        if target.dtype not in (torch.int64, torch.uint8):  # all that torch takes
            rule = _("it needs class indices as whole numbers of 64 bits: y.long()")
            raise mismatch(self.name, output, target, rule)
        if target.shape != (output.shape[0], *output.shape[2:]):
            rule = _("it needs one class index per sample, shape (samples,)")
            raise mismatch(self.name, output, target, rule)
        valid = target[target != -100] if self.ignores else target  # torch's ignore_index
        if valid.numel() and (int(valid.min()) < 0 or int(valid.max()) >= classes):
            raise ValueError(
                _(
                    "{name}: labels must be 0 to {last}, because the model gives {classes} scores; "
                    "got labels from {low} to {high}. Renumber them (scikit-learn's LabelEncoder does) "
                    "or give the last layer more outputs.",
                    name=self.name,
                    last=classes - 1,
                    classes=classes,
                    low=int(valid.min()),
                    high=int(valid.max()),
                )
            )


def smoothed(output: Tensor, target: Tensor, share: Tensor) -> Tensor:
    """Return the mean cross-entropy with a share of each label spread over all classes, the share in a tensor."""
    plain = functional.cross_entropy(output, target)
    if target.is_floating_point():
        spread = -output.log_softmax(1).mean(1).mean()
    else:
        counts = target != -100
        spread = -(output.log_softmax(1).mean(1) * counts).sum() / counts.sum()
    return (1 - share) * plain + share * spread


class CrossEntropy(ByClass):
    """Cross-entropy of raw scores (n, classes, ...) with class indices (n, ...), int64 (Bishop 1995, section 6.9).

    In training, ``label_smoothing`` mixes the labels with all classes alike (Szegedy et al. 2016, section 7).
    """

    name = "cross_entropy"
    soft = True
    traits = ByClass.traits._replace(counts="labels")
    source = "functional.cross_entropy(output, {target})"
    training_only = ("label_smoothing",)
    label_smoothing = Float(
        0.0,
        low=0.0,
        high=0.5,
        ge=0.0,
        lt=1.0,
        label=N_("Label smoothing"),
        group=N_("Regularization"),
        help=N_("Fraction of each label that is spread over all classes, in training only."),
    )

    def __call__(self, output: Tensor, target: Any) -> Tensor:
        """Return the mean cross-entropy."""
        if isinstance(self.label_smoothing, Tensor):  # of many runs at once
            return smoothed(output, target, self.label_smoothing)
        return functional.cross_entropy(output, target, label_smoothing=self.label_smoothing)

    @property
    def has_settings(self) -> bool:
        """With any smoothing."""
        return self.label_smoothing > 0

    def measure(self, output: Tensor, target: Any) -> Tensor:
        """Return the mean cross-entropy with the labels themselves."""
        return functional.cross_entropy(output, target)

    def measure_of_many(self, output: Tensor, target: Any) -> Tensor:
        """Return the same; of few classes, torch takes a quarter of the time with samples side by side."""
        if output.ndim == 2 and target.ndim == 1 and output.shape[1] < _FEW_CLASSES:
            output, target = output.t()[None], target[None]
        return functional.cross_entropy(output, target)

    @classmethod
    def written(cls, names: Mapping[str, str]) -> str:
        """Return the expression, with smoothing if there is any."""
        if not names["label_smoothing"]:
            return cls.source.format(**names)
        return "functional.cross_entropy(output, {target}, label_smoothing={label_smoothing})".format(**names)


def focal_loss(output: Tensor, target: Tensor, gamma: float) -> Tensor:
    """Return the mean of (1 - p) ** gamma * -log p, p that of the right class.

    Labels of -100 do not count.
    """
    entropy = functional.cross_entropy(output, target, reduction="none")
    focal = (1 - torch.exp(-entropy)) ** gamma * entropy
    return focal.sum() / (target != -100).sum()


class Focal(ByClass):
    """Focal loss (Lin et al. 2017, eq. 4): cross-entropy in which well-classified samples count less."""

    name = "focal"
    traits = ByClass.traits._replace(counts="labels")
    source = "focal_loss(output, {target}, {gamma})"
    functions = (focal_loss,)
    gamma = GAMMA

    def __call__(self, output: Tensor, target: Any) -> Tensor:
        """Return the mean focal loss."""
        return focal_loss(output, target, self.gamma)


def multi_margin(output: Tensor, target: Tensor, margin: Tensor) -> Tensor:
    """Return the mean hinge loss of scores (n, classes), the margin in a tensor."""
    right = output.gather(1, target[:, None])
    over = functional.relu(margin - right + output)
    return (over.sum(1) - margin).mean() / output.shape[1]


class Hinge(ByClass):
    """Hinge loss of several classes (Weston and Watkins 1999): each score too near the right one counts."""

    name = "hinge"
    ignores = False
    source = "functional.multi_margin_loss(output, {target}, margin={margin})"
    margin = MARGIN

    def __call__(self, output: Tensor, target: Any) -> Tensor:
        """Return the mean over samples and classes."""
        if isinstance(self.margin, Tensor):  # of many runs at once
            return multi_margin(output, target, self.margin)
        return functional.multi_margin_loss(output, target, margin=self.margin)

    def check(self, output: Any, target: Any) -> None:
        """Raise ValueError for other shapes than (n, classes) and (n,), or labels that are no class."""
        super().check(output, target)
        if output.ndim != 2:
            raise mismatch(self.name, output, target, _("it needs outputs (samples, classes)"))


class BinaryCrossEntropy(Elementwise):
    """Log loss of raw scores (n,) or (n, 1) with labels 0 and 1 (Bishop 1995, section 6.7)."""

    task = "binary"
    name = "binary_cross_entropy"
    traits = Elementwise.traits._replace(classes_first=False, scale=SCORES)
    source = "functional.binary_cross_entropy_with_logits(output, {target})"

    def __call__(self, output: Tensor, target: Any) -> Tensor:
        """Return the mean log loss."""
        return functional.binary_cross_entropy_with_logits(output, target)

    def check(self, output: Any, target: Any) -> None:
        """Raise ValueError for other shapes, or labels outside 0 to 1."""
        super().check(output, target)
        low, high = float(target.min()), float(target.max())
        if low < 0 or high > 1:
            rule = _("{name}: labels must be 0 to 1", name=self.name)
            raise ValueError(_("{rule}; got labels from {low:g} to {high:g}.", rule=rule, low=low, high=high))


def binary_focal_loss(output: Tensor, target: Tensor, gamma: float) -> Tensor:
    """Return the mean of (1 - p) ** gamma * -log p, p that of the label."""
    lose = functional.binary_cross_entropy_with_logits
    entropy = lose(output, target, reduction="none")
    return ((1 - torch.exp(-entropy)) ** gamma * entropy).mean()


class BinaryFocal(BinaryCrossEntropy):
    """Focal loss of raw scores (n,) or (n, 1) with labels 0 and 1 (Lin et al. 2017, eq. 4)."""

    name = "binary_focal"
    source = "binary_focal_loss(output, {target}, {gamma})"
    functions = (binary_focal_loss,)
    gamma = GAMMA

    def __call__(self, output: Tensor, target: Any) -> Tensor:
        """Return the mean focal loss."""
        return binary_focal_loss(output, target, self.gamma)


class BinaryHinge(BinaryCrossEntropy):
    """Hinge loss of raw scores (n,) or (n, 1) with labels 0 and 1 (Cortes and Vapnik 1995)."""

    name = "binary_hinge"
    source = "functional.relu({margin} - (2 * {target} - 1) * output).mean()"
    margin = MARGIN

    def __call__(self, output: Tensor, target: Any) -> Tensor:
        """Return the mean of what is missing to the margin."""
        return functional.relu(self.margin - (2 * target - 1) * output).mean()
