"""Structured sparsity learnt: whole neurons and channels are pulled to zero while the run trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nbopt.hyperparams import Choice, Float, Hyperparam, variant
from nbopt.i18n import N_, _
from nbopt.techniques.base import Technique
from nbopt.techniques.compression.units import find_heads, find_hidden
from nbopt.techniques.context import Setting

_GROUP = N_("Pruning")


class GroupLasso(Technique):
    """Group lasso on neurons, channels, hidden units, heads or inputs (Wen et al. 2016, eq. 2).

    To the loss belongs ``group_lasso`` times the sum of the Euclidean norms of all groups: of the weights into each
    neuron or output channel, of those of a head of attention, or of those out of each input. A hidden unit of a
    recurrent layer is one neuron: its rows of all gates are a group (Wen et al. 2018). The loss that is shown stays the
    data's own. What has become small as a whole is best pruned as a whole: by the same pattern of sparsity. Biases and
    normalization scales are left alone.

    Attributes
    ----------
    groups : list, or None
        The choice that groups were found for, and what each is made of.
    """

    group_lasso = Float(
        0.0,
        low=1e-6,
        high=1.0,
        log=True,
        zero=True,
        ge=0.0,
        label=N_("Group lasso"),
        group=_GROUP,
        help=N_("Strength with which whole neurons or channels are pulled to zero."),
        synonyms="structured_sparsity group_sparsity l21",
    )
    group_lasso_of = Choice(
        "neurons",
        options=("neurons", "heads", "inputs"),
        label=N_("Groups"),
        group=_GROUP,
        help=N_(
            "Which weights form a group: those of each neuron, channel or hidden unit, of each head or each input."
        ),
        needs="group_lasso",
    )

    groups: tuple[str, Sequence[Any]] | None = None

    @classmethod
    def declared_for(cls, setting: Setting) -> dict[str, Hyperparam[Any]]:
        """Return the groups that the model has."""
        spec: Any = cls.declared()["group_lasso_of"]
        if find_heads(setting.model):
            return dict(cls.declared())
        options = tuple(name for name in spec.options if name != "heads")
        refused = {"heads": _("the model has no nn.MultiheadAttention, whose heads could be groups")}
        return {**cls.declared(), "group_lasso_of": variant(spec, options=options, refused=refused)}

    @classmethod
    def unfit_for(cls, setting: Setting) -> str:
        """There has to be a matrix."""
        known = any(weight.ndim > 1 for weight in setting.model.parameters())
        return "" if known else _("the model has no weights of two dimensions or more")

    @property
    def acts(self) -> bool:
        """With any strength."""
        return self.group_lasso > 0

    def train(self, weights: Sequence[nn.Parameter]) -> None:
        """Look for groups anew: the model may be another."""
        self.weights = weights
        self.groups = None

    @torch.no_grad()
    def after_gradients(self) -> None:
        """Add the penalty's gradient; that of a group at zero is zero."""
        model, of = self.context.model, self.group_lasso_of
        if self.groups is None or self.groups[0] != of:
            self.groups = of, find_groups(model, of)
        named = self.context.named_weights
        for parts in self.groups[1]:
            trained = [part for part in parts if part[0] in named]
            pull_groups(trained, named, self.group_lasso)


# Scripts hold these functions as they are written here, so in lines of 88 characters.
def find_groups(
    model: nn.Module,
    of: str,
) -> list[list[tuple[str, tuple[int, ...], int]]]:
    """Return what groups are made of: matrices, their shapes, and where groups lie."""
    if of == "heads":
        return find_heads(model)
    layers: list[list[tuple[str, tuple[int, ...], int]]] = []
    if of == "neurons":
        for name, module in model.named_modules():
            if type(module) in (nn.RNN, nn.LSTM, nn.GRU):
                layers += find_hidden(module, name)
    known = {part[0] for parts in layers for part in parts}
    dim = 0 if of == "neurons" else 1
    for name, weight in model.named_parameters():
        if weight.ndim > 1 and name not in known:
            layers.append([(name, tuple(weight.shape), dim)])
    return layers


def pull_groups(
    parts: list[tuple[str, tuple[int, ...], int]],
    weights: Mapping[str, Tensor],
    strength: float,
) -> None:
    """Add the gradient of ``strength`` times the sum of the norms of groups."""
    found, squares = [], torch.zeros(())
    for name, shape, dim in parts:
        weight = weights[name]
        if weight.ndim > 1 and weight.grad is not None:
            seen = weight.reshape(shape).movedim(dim, 0)
            found.append((weight, shape, dim))
            squares = squares.to(seen) + seen.flatten(1).square().sum(1)
    norms = squares.sqrt()
    norms.masked_fill_(norms == 0, 1.0)
    for weight, shape, dim in found:
        sides = [-1 if place == dim else 1 for place in range(len(shape))]
        pull = weight.reshape(shape) / norms.view(sides)
        assert weight.grad is not None
        weight.grad.add_(pull.mul_(strength).reshape(weight.shape))
