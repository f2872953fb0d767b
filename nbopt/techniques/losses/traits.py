"""What is known of a loss beside its value: how it averages, which targets it leaves out, what its outputs mean.

Validation weighs batches by what a loss counts, a batch sent through in parts gets the gradient of the whole, and
metrics know labels that do not count and probabilities from scores. It is read from nbopt's losses and from those of
torch, given as a module, a function or a `functools.partial` of one. Nothing is known of any other callable.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

IGNORED = -100
"""The label that torch's cross-entropy leaves out, and that is no class of any loss."""

SCORES, PROBABILITIES = "scores", "probabilities"


class Traits(NamedTuple):
    """What is known of a loss.

    Attributes
    ----------
    reduction : {"mean", "sum", ""}
        What it makes of a batch; "" if that is not known.
    counts : {"labels", "numbers", "samples"}
        What a mean is taken over: labels that count, the numbers of the output, or samples.
    ignored : int
        The label that does not count.
    weight : Tensor or None
        How much each class counts, (classes,).
    classes_first : bool or None
        Whether outputs have classes in dimension 1, (n, classes, ...), as torch's cross-entropy takes them; False for
        outputs of one number for each target; None if it is not known.
    scale : {"scores", "probabilities", ""}
        What outputs are: raw scores and logarithms of probabilities, or probabilities; "" if that is not known.
    elementwise : bool
        Whether outputs and targets are compared number by number.
    """

    reduction: str = ""
    counts: str = "samples"
    ignored: int = IGNORED
    weight: Tensor | None = None
    classes_first: bool | None = None
    scale: str = ""
    elementwise: bool = False


UNKNOWN = Traits()
_LABELS = Traits("mean", "labels", classes_first=True, scale=SCORES)
_BINARY = Traits("mean", "numbers", classes_first=False, scale=SCORES, elementwise=True)
_NUMBERS = Traits("mean", "numbers", elementwise=True)

_TORCH: dict[Any, Traits] = {
    functional.cross_entropy: _LABELS,
    functional.nll_loss: _LABELS,
    functional.multi_margin_loss: _LABELS._replace(counts="samples"),
    functional.binary_cross_entropy: _BINARY._replace(scale=PROBABILITIES),
    functional.binary_cross_entropy_with_logits: _BINARY,
    functional.multilabel_soft_margin_loss: _BINARY._replace(elementwise=False, counts="samples"),
    functional.mse_loss: _NUMBERS,
    functional.l1_loss: _NUMBERS,
    functional.smooth_l1_loss: _NUMBERS,
    functional.huber_loss: _NUMBERS,
    functional.poisson_nll_loss: _NUMBERS,
    functional.soft_margin_loss: _NUMBERS,
    functional.kl_div: _NUMBERS,
    nn.CrossEntropyLoss: _LABELS,
    nn.NLLLoss: _LABELS,
    nn.MultiMarginLoss: _LABELS._replace(counts="samples"),
    nn.BCELoss: _BINARY._replace(scale=PROBABILITIES),
    nn.BCEWithLogitsLoss: _BINARY,
    nn.MultiLabelSoftMarginLoss: _BINARY._replace(elementwise=False, counts="samples"),
    nn.MSELoss: _NUMBERS,
    nn.L1Loss: _NUMBERS,
    nn.SmoothL1Loss: _NUMBERS,
    nn.HuberLoss: _NUMBERS,
    nn.PoissonNLLLoss: _NUMBERS,
    nn.SoftMarginLoss: _NUMBERS,
    nn.KLDivLoss: _NUMBERS,
}


def read_traits(given: Any) -> Traits:
    """Return what is known of a loss that a user gave."""
    settings: dict[str, Any] = {}
    while isinstance(given, partial) and not given.args:
        settings = {**given.keywords, **settings}
        given = given.func
    if isinstance(given, nn.Module):
        kind = next((kind for kind in type(given).__mro__ if "forward" in vars(kind)), type(given))
        settings = {name: getattr(given, name, None) for name in ("reduction", "ignore_index", "weight")}
    else:
        kind = given
    known = _TORCH.get(kind) if callable(kind) and _is_hashable(kind) else None
    if known is None:
        return UNKNOWN
    reduction = settings.get("reduction") or "mean"
    if reduction == "batchmean":
        reduction, known = "mean", known._replace(counts="samples")
    weight = settings.get("weight")
    return known._replace(
        reduction=reduction if reduction in ("mean", "sum") else "",
        ignored=IGNORED if settings.get("ignore_index") is None else settings["ignore_index"],
        weight=weight if known.counts == "labels" and isinstance(weight, Tensor) else None,
    )


def combine_traits(terms: list[Traits]) -> Traits:
    """Return what is known of a sum of losses: what all of them agree in, and what one knows where others do not."""
    reductions = {(term.reduction, term.counts, term.ignored) for term in terms}
    same = len(reductions) == 1 and all(term.weight is terms[0].weight for term in terms)
    first = next((term for term in terms if term.classes_first is not None), terms[0])
    if same:
        return first._replace(elementwise=False)
    sums = all(term.reduction == "sum" for term in terms)
    return first._replace(reduction="sum" if sums else "", counts="samples", weight=None, elementwise=False)


def count_targets(traits: Traits, target: Any) -> Tensor | float | None:
    """Return what a batch weighs in a mean of this loss over batches; None if the target does not tell.

    Labels that do not count are left out, and classes weigh what the loss makes them weigh. Where nothing is known of
    the loss, each target, that is each row of the target tensor, weighs the same.

    Parameters
    ----------
    traits : Traits
    target : Tensor, (n, ...)
    """
    if not isinstance(target, Tensor) or not target.ndim:
        return None
    if traits.counts == "numbers":
        return float(target.numel())
    if traits.counts == "samples":
        return float(len(target))
    if traits.weight is None:
        return count_labels(target, traits.ignored)
    return weigh_labels(target, traits.weight, traits.ignored)


# Scripts hold these two as they are written here, so in lines of 88 characters.


def count_labels(target: Tensor, ignored: int = -100) -> Tensor | float:
    """Return how many labels count in the loss."""
    if target.is_floating_point():  # probabilities of labels
        return float(len(target))
    return (target != ignored).sum()


def weigh_labels(
    target: Tensor,
    weights: Tensor | list[float],
    ignored: int = -100,
) -> Tensor | float:
    """Return how much the labels count in the loss, by the weights of their classes."""
    if target.is_floating_point():
        return float(len(target))
    counts = target != ignored
    weights = torch.as_tensor(weights, device=target.device)
    return (weights[torch.where(counts, target, 0).long()].double() * counts).sum()


def _is_hashable(item: Any) -> bool:
    try:
        hash(item)
    except TypeError:
        return False
    return True
