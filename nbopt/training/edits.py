"""Making edits: what holds weights goes along, and nothing is done where something could not.

A weight that gets another shape stays the object that it is. So whoever holds it, as the user's optimizer or a loss,
holds the new one; and what follows from weights is made anew by `nbopt.training.rebuild`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import torch

from nbopt.data.noise import EDITS as STREAM
from nbopt.data.noise import derive_seed
from nbopt.i18n import _
from nbopt.training.active_hooks import tell_carried
from nbopt.training.edit_base import Edit, Plan
from nbopt.training.exchange import Exchange, carry, find_obstacle
from nbopt.training.rebuild import rebuild
from nbopt.training.trial import are_close, evaluate

if TYPE_CHECKING:
    from nbopt.training.training import Training

EDITS: dict[str, type[Edit]] = {}
"""By the name that the journal has for each; `nbopt.edits` enters its own."""


def read_edit(value: Mapping[str, Any]) -> Edit:
    """Return the edit that a journal tells of.

    Raises
    ------
    ValueError, TypeError
        If there is no such edit.
    """
    kind = EDITS.get(value["edit"]) if isinstance(value.get("edit"), str) else None
    if kind is None:
        raise ValueError(_("there is no edit {name}.", name=value.get("edit")))
    return kind(**{field.name: value[field.name] for field in fields(kind)})


def is_edit(value: object, edits: Sequence[Any]) -> bool:
    """Whether ``value``, one of all ``edits`` that led a run to where it is, is what the journal tells of one."""
    try:
        read_edit(value)  # type: ignore[arg-type]
        right = value["number"] == [other is value for other in edits].index(True)  # type: ignore[index]
        return right and isinstance(value["reason"], str)  # type: ignore[index]
    except (AttributeError, KeyError, TypeError, ValueError):
        return False


def prepare_edit(training: Training, edit: object, around: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return an edit as the journal holds it, once it was found that it can be made; nothing is changed.

    Parameters
    ----------
    training : Training
        Between two steps.
    edit : Edit
    around : iterable of (str, object)
        All that the user's objects lead to, with the way there.

    Raises
    ------
    TypeError
        If it is no edit.
    CannotEdit
        If it cannot be made in this run; says why.
    """
    if not isinstance(edit, Edit):
        rule = _("edit must be an edit, as nbopt.Widen(layer, by=8)")
        raise TypeError(_("{rule}; got {kind}.", rule=rule, kind=type(edit).__name__))
    for module in training.model.modules():
        if isinstance(module, torch.jit.ScriptModule) or type(module).__module__.startswith("torch._dynamo"):
            raise edit.refuse(_("the model is compiled, by torch.compile or torch.jit"))
    if not training.step and training.acting.before_first_step:
        raise edit.refuse(_("what comes before the first step, as drawing initial weights, would undo it: do a step"))
    half_done, training.half_done = training.half_done, True  # what interrupts this leaves the rest to do again
    try:
        made = _try(training, edit, around)
    except Exception:
        training.half_done = half_done
        raise
    training.half_done = half_done
    return made.to_json()


def _try(training: Training, edit: Edit, around: Iterable[tuple[str, Any]]) -> Edit:
    """Return an edit with all that it has to know, once it was made, looked at and undone."""
    edit = edit.prepare(training)
    exchange = Exchange(training.model, _plan(training, edit))
    if reason := find_obstacle(training, exchange, around):
        raise edit.refuse(reason)
    before = evaluate(training)
    exchange.do()
    try:
        after = evaluate(training)
    except Exception as error:  # whatever the user's model, loss or forward raise
        raise edit.refuse(_("with it, the model cannot be computed ({error})", error=error)) from error
    finally:
        exchange.undo()
    if not are_close(training, before, after):
        raise edit.refuse(_("outputs or loss of the next batch would be others"))
    return edit


def make_edit(training: Training, value: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str]:
    """Make an edit; return what the journal holds of it, and what was dropped for it, in words.

    One that is made already, as a snapshot taken after it holds it, is not made twice: None is returned.
    """
    number = value.get("number", len(training.edits))
    if number < len(training.edits):
        return None, ""
    edit = read_edit(value)
    plan = _plan(training, edit)
    entry = {**edit.to_json(), "number": number, "reason": plan.words}
    exchange = Exchange(training.model, plan)
    best = {
        name: plan.resizes[name].value(t) if name in plan.resizes else t for name, t in training.best_weights.items()
    }
    state, dropped = carry(training, plan, exchange)
    before = training.best_weights, training.edits, training.optimizer.state
    exchange.do()
    try:
        for tensor in exchange.tensors.values():
            tensor.grad = None
        training.best_weights, training.edits = best, [*training.edits, entry]
        training.optimizer.remember_only(state)
        dropped += rebuild(training)
    except Exception:
        exchange.undo()
        training.best_weights, training.edits = before[:2]
        training.optimizer.remember_only(before[2])
        rebuild(training)
        raise
    return entry, tell_carried([], dropped)


def _plan(training: Training, edit: Edit) -> Plan:
    seed = derive_seed(training.context.seed, STREAM, len(training.edits))
    return edit.plan(training.model, torch.Generator().manual_seed(seed))
