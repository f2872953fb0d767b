"""What is said where a pass fails, in the user's words."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from torch import nn

from nbopt.data.places import item_at
from nbopt.data.tree import tensors
from nbopt.i18n import _
from nbopt.techniques.losses.base import Loss
from nbopt.training.types import explain_target, explain_types


def explain_pass(error: Exception, model: nn.Module, batch: Any, step: int) -> None:
    """Note in what the model raised where that was, and why, if the types tell."""
    shapes = ", ".join(f"{tuple(t.shape)} {str(t.dtype).removeprefix('torch.')}" for t in tensors(batch))
    error.add_note(_("nbopt: raised in step {step}, on a batch of shape {shapes}", step=step, shapes=shapes))
    if explained := explain_types(error, batch, model):
        error.add_note(explained)
    if "more than 1 value per channel" in str(error):
        rule = _("batch normalization needs two samples, and this batch has the one that an epoch leaves over")
        way = _("run.rewind(...) and set another batch_size, or give a DataLoader with drop_last=True")
        error.add_note(_("nbopt: {rule}: {way}.", rule=rule, way=way))


def explain_loss(error: Exception, loss: Loss, output: Any, target: Any) -> None:
    """Say why a loss failed: by another error, where the loss knows, or a note to this one."""
    with suppress(RuntimeError, TypeError):  # the same again
        loss.explain(output, target)
    for place in loss.parts:
        with suppress(LookupError, AttributeError):  # what is not there was told
            if explained := explain_target(error, item_at(output, place), item_at(target, place)):
                error.add_note(explained)
