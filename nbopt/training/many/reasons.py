"""Why the steps of many runs cannot be done at once."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from nbopt.i18n import _
from nbopt.objects.layers import NOISY, leaves_out
from nbopt.techniques.optimizers.update import Update
from nbopt.training.compile.marks import find_hooks
from nbopt.training.compile.reads import Reads
from nbopt.training.compile.step import CannotCompile, find_trained
from nbopt.training.compile.values import is_torchs
from nbopt.training.many.member import OneOfMany
from nbopt.training.step.passes import call_on_pair
from nbopt.training.training import Training
from nbopt.training.user_code.callables import functions_of

_APART = (
    *("change_weights", "change_activations", "change_pass", "change_every_pass", "change_loss"),
    *("replace_step", "largest_part"),
)


def find_reason(training: Training) -> str:
    """Return why the steps of a run, as it is now, cannot be done together with those of others; "" if they can."""
    acting, model = training.acting, training.model
    owners = [hook.__self__ for name in _APART for hook in getattr(acting, name) if _counts(name, hook)]
    moved, parts = len(training.find_trained()), [*model.modules()]
    places = model.named_modules(remove_duplicate=False)
    checks: Mapping[str, bool] = {
        _("some weights that get gradients are none of the optimizer's"): moved < len(find_trained(model)),
        # Tracing what torch.compile made leaves torch's modules patched, and a script has no Python code to read.
        _("torch.compile made part of the model"): training.noise.compiled,
        _("the model is a script of torch.jit"): any(
            isinstance(part, torch.jit.ScriptModule) for part in model.modules()
        ),
        # torch's functional_call leaves its tensors in one.
        _("the model has one module in two places"): len([*places]) > len(parts),
        _("the loss is of several outputs"): bool(training.loss.measures),
        _("the optimizer evaluates the loss several times a step"): training.optimizer.repeats,
        _("the optimizer's step is changed"): not isinstance(training.stepper.update, Update),
        _("generators of your own draw random numbers"): bool(training.noise.owned),
    }
    found = next((reason for reason, holds in checks.items() if holds), "")
    if not found and owners:
        found = _("{name} acts", name=type(owners[0]).__name__)
    if not found and (hooked_on := find_hooks(model)):
        found = _("hooks on {name}", name=hooked_on)
    return found or next(filter(None, map(_reason_in, model.modules())), "") or _reason_in_code(training)


def tell_failure(error: Exception) -> str:
    """Return why steps cannot be done together, where finding out raised an error."""
    if isinstance(error, CannotCompile):
        return str(error)
    told = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    return _("torch.func.vmap does not take the model: {error}", error=told)


def calls_functions(training: Training) -> bool:
    """Whether functions of the user's are called in a step, beside his model."""
    return training.pass_.forward is not call_on_pair or training.loss.draws


def has_gaps(training: OneOfMany) -> bool:
    """Whether some weights got no gradient in the run's own pass, where it did one."""
    missing = [weight.grad is None for weight in training.find_trained()]
    return any(missing) and not all(missing)


def _reason_in_code(training: Training) -> str:
    """Return what code of the user's keeps from call to call: it would be called once for all members."""
    if reason := training.tiers.reads().obstacle:
        return reason
    forward, functions = training.pass_.forward, functions_of(training.loss)
    if forward is not call_on_pair and (reason := _reason_of(forward)):
        return _("the forward function is your own: {reason}", reason=reason)
    if reason := next(filter(None, map(_reason_of, functions)), ""):
        return _("the loss is your own: {reason}", reason=reason)
    return ""


def _reason_of(function: Any) -> str:
    """Return what a function, or a module, keeps from call to call."""
    owner = nn.Module()
    owner.function = function
    if isinstance(function, nn.Module):
        if find_hooks(function) or next(function.parameters(), None) is not None:
            return _("{name} has weights or hooks", name=type(function).__name__)
        if not is_torchs(type(function)) and next(function.buffers(), None) is not None:
            return _("{name} has buffers", name=type(function).__name__)
    return Reads(owner).obstacle


def _counts(name: str, hook: Any) -> bool:
    return name != "largest_part" or bool(hook())


def _reason_in(module: nn.Module) -> str:
    fed = type(module) is nn.Dropout
    if (leaves_out(module) and not fed) or isinstance(module, NOISY):
        return _("the noise of {name} cannot be fed from outside", name=type(module).__name__)
    return ""


def find_difference(trainings: Sequence[OneOfMany]) -> str:
    """Return in what runs differ that cannot differ where steps are done together; "" if in nothing."""
    known = trainings[0].find(_form)
    for training in trainings[1:]:
        form = training.find(_form)
        if what := next((what for what in known if known[what] != form[what]), None):
            return _("members differ in {what}", what=what)
    return ""


def _loss_of(training: Training) -> Any:
    """Return what tells losses apart; each member has a copy of a module that is one."""
    loss = training.loss
    if not loss.draws:
        return type(loss)
    return list(map(_told_apart_by, functions_of(loss)))


def _told_apart_by(function: Any) -> Any:
    if isinstance(function, functools.partial):
        return function.func, function.args, function.keywords
    return type(function) if isinstance(function, nn.Module) else function


def _form(training: Training) -> dict[str, Any]:
    """Return what has to be the same, by what it is called: texts, as each of thousands of members holds its own."""
    trained = find_trained(training.model)
    return {
        _("their optimizer"): type(training.torch_optimizer),
        _("their loss"): _loss_of(training),
        _("which weights train"): " ".join(name for name, _weight in trained),
        _("the shapes of their weights"): " ".join(f"{[*weight.shape]} {weight.dtype}" for _name, weight in trained),
        _("their modules' modes"): training.material.evaluated,
    }
