"""Structured sparsity learnt: whole neurons and channels are pulled to zero while the run trains."""

from __future__ import annotations

import torch
from torch import Tensor

from nbopt.hyperparams import Choice, Float
from nbopt.i18n import N_, _
from nbopt.techniques.base import Technique
from nbopt.techniques.context import Setting

_GROUP = N_("Pruning")


class GroupLasso(Technique):
    """Group lasso on neurons, channels or inputs (Wen et al. 2016, eq. 2).

    To the loss belongs ``group_lasso`` times the sum of the Euclidean norms of all groups: of the weights into each
    neuron or output channel, or of those out of each input. The loss that is shown stays the data's own. What has
    become small as a whole is best pruned as a whole: neurons. Biases and normalization scales are left alone.
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
        options=("neurons", "inputs"),
        label=N_("Groups"),
        group=_GROUP,
        help=N_("Which weights form a group: those into each neuron or output channel, or those out of each input."),
        needs="group_lasso",
    )

    @classmethod
    def unfit_for(cls, setting: Setting) -> str:
        """There has to be a matrix."""
        known = any(weight.ndim > 1 for weight in setting.model.parameters())
        return "" if known else _("the model has no weights of two dimensions or more")

    @property
    def acts(self) -> bool:
        """With any strength."""
        return self.group_lasso > 0

    @torch.no_grad()
    def after_gradients(self) -> None:
        """Add the penalty's gradient; that of a group at zero is zero."""
        dim = 0 if self.group_lasso_of == "neurons" else 1
        for weight in self.weights:
            if weight.ndim > 1 and weight.grad is not None:
                pull = weight / norm_of_groups(weight, dim)
                weight.grad.add_(pull.mul_(self.group_lasso))


# Scripts hold this as it is written here.
def norm_of_groups(weight: Tensor, dim: int) -> Tensor:
    """Return the norm of the weights of each group along ``dim``, 1 where it is 0."""
    others = [other for other in range(weight.ndim) if other != dim]
    norms: Tensor = torch.linalg.vector_norm(weight, dim=others, keepdim=True)
    return norms.masked_fill_(norms == 0, 1.0)
