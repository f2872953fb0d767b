"""Gradient accumulation: a batch sent through the model in parts, for when it does not fit at once."""

from __future__ import annotations

from typing import Any

from nbopt.hyperparams import Int
from nbopt.i18n import N_, _
from nbopt.techniques.base import Technique


class Accumulation(Technique):
    """Splits batches; gradients of the parts add up to the batch's own (Ott et al. 2018).

    How, and whether that can be done, is the affair of `nbopt.training.step.split`.

    Batch normalization sees the parts as its batches.
    """

    micro_batch = Int(
        0,
        low=1,
        high=1024,
        powers=True,
        zero=True,
        ge=0,
        label=N_("Micro-batch"),
        group=N_("Batches"),
        unit=N_("samples"),
        help=N_("Samples processed at once where a batch does not fit into memory; 0: all (gradient accumulation)."),
        synonyms="accumulate_grad_batches gradient_accumulation_steps accumulation_steps iter_size",
    )
    compiles = True
    by_script = True

    @property
    def acts(self) -> bool:
        """With any size."""
        return self.micro_batch > 0

    def largest_part(self) -> int:
        """Return the size that is asked for."""
        return self.micro_batch

    def need_less(self, samples: int) -> dict[str, Any]:
        """Halve the parts; a single sample has no half."""
        size = min(self.micro_batch or samples, samples)
        return {"micro_batch": size // 2} if size > 1 else {}

    @property
    def obstacle(self) -> str:
        """The compiled step takes batches whole."""
        return _("batches are split") if self.micro_batch else ""
