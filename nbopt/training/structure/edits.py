"""Making edits: what holds weights goes along, and nothing is done where something could not.

A weight that gets another shape stays the object that it is. So whoever holds it, as the user's optimizer or a loss,
holds the new one; and what follows from weights is made anew by `nbopt.training.structure.rebuild`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nbopt.errors import shorten
from nbopt.i18n import _
from nbopt.training.active_hooks import tell_carried
from nbopt.training.snapshots.checkpoint import copy_state
from nbopt.training.structure.edit import Edit, Plan
from nbopt.training.structure.exchange import Exchange, carry, find_obstacle
from nbopt.training.structure.measuring import Measured, change_of
from nbopt.training.structure.rebuild import rebuild
from nbopt.training.structure.structure import EDITS as EDITS
from nbopt.training.structure.structure import do_exchange, plan_edit, read_edit, undo_last
from nbopt.training.trial import are_close, evaluate

if TYPE_CHECKING:
    from nbopt.training.training import Training


def is_edit(value: object, edits: Sequence[Any]) -> bool:
    """Whether ``value``, one of all ``edits`` that led a run to where it is, is what the journal tells of one."""
    try:
        read_edit(value)  # type: ignore[arg-type]
        right = value["number"] == [other is value for other in edits].index(True)  # type: ignore[index]
        right = right and isinstance(value.get("settled", False), bool)  # type: ignore[attr-defined]
        return right and isinstance(value["reason"], str) and Measured.is_one(value)  # type: ignore
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
    found, expected = find_edit(training, edit)
    with _half_done(training):
        measured = _try(training, found, around, expected)
    return {**found.to_json(), **measured}


def rehearse(
    training: Training, edit: object, around: Iterable[tuple[str, Any]], make: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Return an edit as the journal holds it, once it was made in a run that is thrown away.

    Where techniques that act now have the model compute with other weights than its own, as pruning, it goes on with
    those: that they are turned off then is to make no difference.

    Parameters
    ----------
    training, edit, around
        See `prepare_edit`.
    make : callable
        Makes the edit that it is given, and the changes that come with it.
    """
    settled = bool(training.acting.change_weights)
    found, before = find_edit(training, edit, settled)
    value = {**found.to_json(), "settled": settled}
    if reason := find_obstacle(training, Exchange(training.model, plan_edit(training, found)), around):
        raise found.refuse(reason)
    size, hint = Measured.of(training), _hint(training)
    make(value)
    measured = _compare(training, found, size, before, hint)
    return {**value, **measured}


def check_edit(edit: object) -> Edit:
    """Return ``edit``; raise TypeError if it is none."""
    if not isinstance(edit, Edit):
        rule = _("edit must be one of nbopt.edits, made with its settings, as nbopt.edits.Shrink(amount=0.5)")
        raise TypeError(_("{rule}; got {edit}.", rule=rule, edit=shorten(edit)))
    return edit


def find_edit(training: Training, edit: object, settled: bool = False) -> tuple[Edit, Any]:
    """Return an edit with all that it has to know of the model as it is now, and outputs and loss that it leads to.

    Where it is ``settled``, it is made of the weights that techniques have the model compute with.

    Raises
    ------
    TypeError
        If it is no edit.
    CannotEdit
        If it cannot be made in this run; says why.
    """
    edit = check_edit(edit)
    for module in training.model.modules():
        if isinstance(module, torch.jit.ScriptModule) or type(module).__module__.startswith("torch._dynamo"):
            raise edit.refuse(_("the model is compiled, by torch.compile or torch.jit"))
    if not training.step and training.acting.before_first_step:
        raise edit.refuse(_("what comes before the first step, as drawing initial weights, would undo it: do a step"))
    with _half_done(training):
        found = edit.prepare(training)
        training.given.update(found.given)
        with _settled(training) if settled else nullcontext(), found.expecting(training.model):
            return found, evaluate(training)


@contextmanager
def _settled(training: Training) -> Iterator[None]:
    """Have the model hold the weights that it computes with, and no technique change them."""
    changes, raw = training.acting.change_weights, _settle(training)
    training.acting.change_weights = []
    try:
        yield
    finally:
        training.acting.change_weights = changes
        _put(training, raw)


@contextmanager
def _half_done(training: Training) -> Iterator[None]:
    """Have what interrupts this leave the rest to do again."""
    half_done, training.half_done = training.half_done, True
    try:
        yield
    except Exception:
        training.half_done = half_done
        raise
    training.half_done = half_done


def _try(training: Training, edit: Edit, around: Iterable[tuple[str, Any]], before: Any) -> dict[str, Any]:
    """Return what an edit does, once it was made, looked at and undone."""
    exchange = Exchange(training.model, plan_edit(training, edit))
    if reason := find_obstacle(training, exchange, around):
        raise edit.refuse(reason)
    size = Measured.of(training)
    put_back = training.acting.keep()
    exchange.do()
    try:
        training.pass_.renew()
        training.acting.train([weight for weight in training.model.parameters() if weight.requires_grad])
        edit.finish(training)
        return _compare(training, edit, size, before, _hint(training))
    finally:
        exchange.undo()
        training.pass_.renew()
        put_back()


def _compare(training: Training, edit: Edit, size: Measured, before: Any, hint: str) -> dict[str, Any]:
    """Return what an edit did that was made just now; raise where it must not, with ``hint``."""
    try:
        after = evaluate(training)
        sizes = Measured.of(training)
    except Exception as error:  # whatever the user's model, loss or forward raise
        reason = _("with it, the model cannot be computed ({error})", error=error)
        raise edit.refuse(reason + hint) from error
    if edit.keeps and not are_close(training, before, after):
        raise edit.refuse(_("outputs or loss of the next batch would be others") + hint)
    return size.compared(sizes, 0.0 if edit.keeps else change_of(before, after))


def _hint(training: Training) -> str:
    if training.acting.change_activations:
        way = _("turn it off first, as by run.set(activation_bits=0)")
        return "; " + _("a technique that acts changes what layers get: {way}", way=way)
    if training.acting.change_weights:
        way = _("say what turns it off, as run.change(edit, sparsity=0)")
        return "; " + _("a technique that acts has the model compute with other weights: {way}", way=way)
    return ""


def make_edit(training: Training, value: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str]:
    """Make an edit; return what the journal holds of it, and what was dropped for it, in words.

    One that is made already, as a snapshot taken after it holds it, is not made twice: None is returned.
    """
    number = value.get("number", len(training.edits))
    if number < len(training.edits):
        return None, ""
    if value.get("asked"):
        value = _find_asked(training, value)
    edit, settled = read_edit(value), bool(value.get("settled"))
    best = _edit_best(training, edit, settled)
    raw = _settle(training) if settled else {}
    plan = plan_edit(training, edit)
    entry = {**edit.to_json(), **Measured.read(value), "settled": settled, "number": number, "reason": plan.words}
    exchange = Exchange(training.model, plan)
    state, dropped = carry(training, plan, exchange)
    before = training.best_weights, training.edits, training.optimizer.state
    try:
        do_exchange(training, exchange)
        for tensor in exchange.tensors.values():
            tensor.grad = None
        training.best_weights, training.edits = best, [*training.edits, entry]
        training.optimizer.remember_only(state)
        dropped += rebuild(training)
        edit.finish(training)
    except Exception:
        undo_last(training)
        exchange.undo()
        _put(training, raw)
        training.best_weights, training.edits = before[:2]
        training.optimizer.remember_only(before[2])
        rebuild(training)
        raise
    return entry, tell_carried([], dropped)


def _find_asked(training: Training, value: Mapping[str, Any]) -> dict[str, Any]:
    """Return an edit of which no more is known than what the user wrote, as the journal holds it."""
    asked = read_edit(value).take(training.given)
    if not value.get("settled"):
        return prepare_edit(training, asked, training.around())
    found, _expected = find_edit(training, asked)
    return {**found.to_json(), "settled": True}


@torch.no_grad()  # as at rest: a codebook would go on to other values
def _settle(training: Training) -> dict[str, Tensor]:
    """Give the model the weights that it computes with, where a technique makes others of its own; return those."""
    made = {name: weight.detach().clone() for name, weight in training.acting.weights().items()}
    return _put(training, made)


def _put(training: Training, numbers: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give weights numbers, by name; return those that they had."""
    before = {}
    for name, value in numbers.items():
        weight = training.model.get_parameter(name)
        before[name], weight.data = weight.data, value
    return before


def _edit_best(training: Training, edit: Edit, settled: bool) -> dict[str, Any]:
    """Return the best weights so far as they are after an edit: as if it had been made of them."""
    best, model = training.best_weights, training.model
    if not best:
        return best
    plan: Plan = plan_edit(training, edit)
    if not plan.modules and not settled:
        names = _first_names(model)
        return {name: plan.value(names.get(name, name), value) for name, value in best.items()}
    now = copy_state(model)
    model.load_state_dict(best)
    raw = _settle(training) if settled else {}
    try:
        exchange = Exchange(model, plan_edit(training, edit)._replace(numbers={}))
        exchange.do()
        try:
            return copy_state(model)
        finally:
            exchange.undo()
    finally:
        _put(training, raw)
        model.load_state_dict(now)


def _first_names(model: torch.nn.Module) -> dict[str, str]:
    """Return the first of the names that each weight and buffer has, by all of them."""
    first: dict[int, str] = {}
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    return {name: first.setdefault(id(tensor), name) for name, tensor in named}
