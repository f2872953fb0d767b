"""Gradient accumulation: a batch sent through the model in parts, for when it does not fit at once."""

from __future__ import annotations

from typing import Any

from nbopt.data.samples import LABELS, SAMPLES, SUM
from nbopt.data.tensor_source import TensorSource
from nbopt.hyperparams import Int
from nbopt.i18n import N_, _
from nbopt.techniques.base import Technique
from nbopt.techniques.losses.traits import Traits
from nbopt.techniques.own_lines import OwnLines, Told

_PARTS = """\
# The batch goes through the model in parts, whose gradients add up.
whole, added = batch, 0.0
$counted
parts = $parts
for part, (batch, share) in enumerate(parts):
    $pass
loss = added
$labelled
"""
_COUNTED = "counted = of = 0  # labels that count, of all"
_LABELLED = """\
if of:
    labelled = (counted / of).to(loss.dtype)
    loss = loss / labelled
    labelled = torch.where(labelled > 0, labelled, 1.0)  # nothing counts
    for group in optimizer.param_groups:
        for weight in group["params"]:
            if weight.grad is not None:
                weight.grad.div_(labelled)
"""
_BY_LABELS = """\
if share < 1 and not target.is_floating_point():
    kept = (target != $ignored).sum()
    counted, of = counted + kept, of + target.numel()
    share = (kept / target.numel() * share).to(loss.dtype)
    loss = torch.where(kept > 0, loss * share, 0.0)
else:
    loss = loss * share
"""


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

    @property
    def acts(self) -> bool:
        """With any size."""
        return self.micro_batch > 0

    @classmethod
    def own_lines(cls, told: Told) -> OwnLines:
        """Put a loop over the parts around the pass, which count as the run found out."""
        if not any(told.values_of("micro_batch")):
            return OwnLines()
        kind: Any = told.hyperparams.spec("loss")
        traits, train = kind.classes[told.start["loss"]].traits, told.train
        rule = _rule(told, traits)
        leaf, in_columns = told.split.get("leaf"), isinstance(train, TensorSource)
        count = "sample_count(whole)" if leaf is None else f"count_samples(whole, {leaf})"
        parts = f"parts_of_tree(whole, hyper.micro_batch, {count})"
        if in_columns and train.structure is None:
            parts = "parts_of(whole, hyper.micro_batch)"
        text, lines = _PARTS.replace("$parts", parts), {"part": " + 1_000_003 * part"}
        if rule == LABELS:
            lines |= {"counted": _COUNTED, "labelled": _LABELLED}
            return OwnLines({**lines, "passes": text, "weigh": _BY_LABELS.replace("$ignored", str(traits.ignored))})
        return OwnLines({**lines, "passes": text, "weigh": "" if rule == SUM else "loss = loss * share"})

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


def _rule(told: Told, traits: Traits) -> str:
    """Return what the parts of a batch count, as the run found it.

    Raises
    ------
    ValueError
        Where that is not known, or by class weights.
    """
    found = {"sum": SUM, "mean": LABELS if traits.counts == "labels" else SAMPLES}.get(traits.reduction, "")
    rule: str = told.split.get("rule", found)
    if not rule and not told.done:
        way = _("how much parts of a batch count is found out in the first step: export the run after it")
        raise ValueError(_("the loss cannot be exported: {rule}.", rule=way))
    train = told.train
    labels = train.columns[1] if isinstance(train, TensorSource) and len(train.columns) == 2 else None
    all_count = labels is not None and told.forward is None and not bool((labels == traits.ignored).any())
    rule = SAMPLES if rule == LABELS and all_count else rule
    spec: Any = told.hyperparams.spec("optimizer")  # some take gradients of gradients, or the loss repeatedly
    repeats = any(spec.classes[name].full_batch for name in told.values_of("optimizer"))
    if traits.weight is not None or (rule == LABELS and repeats):
        way = _("parts of a batch are written out for a mean over labels that count alike: set micro_batch=0")
        raise ValueError(_("the loss cannot be exported: {rule}.", rule=way))
    return rule
