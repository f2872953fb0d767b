"""What follows from a change of a hyperparameter, beside what the techniques do by themselves."""

from __future__ import annotations

from typing import Any

from nbopt.i18n import _
from nbopt.techniques.losses.choice import LOSS
from nbopt.techniques.optimizers.base import Optimizer
from nbopt.techniques.optimizers.standard import OPTIMIZER
from nbopt.training.active_hooks import tell_carried
from nbopt.training.core import Core
from nbopt.training.rates import tell_of_standstill
from nbopt.training.structure.rebuild import rebuild


def react(training: Core, name: str) -> str:
    """React to a change, which has reached its technique; return what a swap took over, in words."""
    training.may_end = True
    acting = training.acting
    scheduled, grouped, size = acting.change_rate, acting.change_groups, acting.part_size
    carried = acting.changed(name)
    if acting.part_size != size:
        training.eager.split.renew()
    if name in training.loss.declared() or acting.is_of("change_inputs", name):
        training.measure_anew("loss" if training.loss.is_judged_anew(name) else "scale")
    if name == OPTIMIZER.name:
        carried = _swap_optimizer(training)
    elif name == LOSS.name:
        training.hyperparams.unbind(training.loss)
        choose_loss(training)
        training.eager.split.renew()
        training.measure_anew("loss")
    elif name in training.cursor.declared():
        training.end_epoch(training.cursor.resize())
        if any(part.traits.reduction == "sum" for part in training.loss.parts.values()):  # on another scale now
            training.measure_anew("loss")
    else:
        carried = carried or training.optimizer.explain(name)
    if acting.is_of("lay_out", name) or acting.is_of("replace_step", name):
        rebuild(training)
    if grouped and not acting.change_groups:
        training.optimizer.renew()
    elif scheduled and not acting.change_rate:
        training.optimizer.set_rate(training.optimizer.lr)
    tell_of_standstill(training)
    training.tiers.note_change()
    return carried


def choose_loss(training: Core) -> None:
    """Measure the loss that is chosen."""
    spec: Any = training.hyperparams.spec(LOSS.name)
    training.loss = spec.classes[training.hyperparams[LOSS.name]]()
    training.hyperparams.bind(training.loss)
    training.acting.include(LOSS.name, training.loss)
    training.pass_.use(training.loss)


def choose_optimizer(training: Core) -> None:
    """Step by the optimizer that is chosen, if it is not at work already."""
    spec: Any = training.hyperparams.spec(OPTIMIZER.name)
    kind = spec.classes[training.hyperparams[OPTIMIZER.name]]
    if type(getattr(training, "optimizer", None)) is kind:
        return
    if kind.full_batch and training.cursor.epoch_size is None:
        rule = _("it takes all samples at once, which batches from a stream do not allow")
        raise ValueError(f"{kind.__name__}: {rule}.")
    optimizer: Optimizer = kind()
    training.hyperparams.bind(optimizer)
    training.torch_optimizer = optimizer.build(training.groups)
    training.optimizer = optimizer
    training.cursor.whole = kind.full_batch


def _swap_optimizer(training: Core) -> str:
    before = training.optimizer
    choose_optimizer(training)
    if before is training.optimizer:
        return ""
    carried = tell_carried(*training.optimizer.take_over(before))
    if training.optimizer.full_batch:
        carried = "; ".join(filter(None, [_("each step takes all samples of an epoch"), carried]))
    training.hyperparams.unbind(before)
    rebuild(training)
    return carried
