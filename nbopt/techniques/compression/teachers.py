"""Who may teach, and whether a teacher suits a model; said in words before anything is learnt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from nbopt.errors import tell_error, unknown
from nbopt.i18n import _
from nbopt.objects.given import module_of


def find_teachers(arguments: tuple[Any, ...], settings: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return what a distillation is made with: modules in the place of runs, members and populations.

    Raises
    ------
    TypeError
        For anything else, and for ``layers`` that are no mapping of names.
    """
    layers = settings.get("layers", arguments[1] if len(arguments) > 1 else None)
    names = [*layers, *layers.values()] if isinstance(layers, Mapping) else []
    if layers is not None and not (names and all(isinstance(name, str) for name in names)):
        rule = _("layers must be a mapping from names of the model's modules to names of the teacher's")
        raise TypeError(_("{rule}; got {given!r}.", rule=rule, given=layers))
    if arguments:
        return (as_module(arguments[0]), *arguments[1:]), settings
    if "teacher" in settings:
        return arguments, {**settings, "teacher": as_module(settings["teacher"])}
    return arguments, settings


def as_module(teacher: Any) -> nn.Module:
    """Return the module that is, or stands for, what somebody gave."""
    if (found := module_of(teacher)) is not None:
        return found
    several = getattr(teacher, "members", teacher)
    if isinstance(several, Iterable) and not isinstance(several, (str, bytes)) and (each := list(several)):
        return nn.ModuleList(as_module(one) for one in each)
    rule = _("the teacher must be a torch.nn.Module, a run, a member of a population, a population, or a list of these")
    raise TypeError(_("{rule}; got {given!r}.", rule=rule, given=teacher))


def refuse_teacher(technique: Any, output: Any, batch: Any) -> str:
    """Return why a model cannot learn from a teacher as its weights of the loss say, in words; "" if it can."""
    if not (isinstance(batch, (tuple, list)) and isinstance(batch[0], Tensor)):
        return _("distillation needs batches (x, y), x a tensor: the teacher is asked about x.")
    if not isinstance(output, Tensor):
        return _("distillation needs a model with one tensor of outputs; this one returns {kind}.", kind=type(output))
    if any(teacher is technique.context.model for teacher in technique.teachers):
        return _(
            "the teacher is the model itself, which has nothing to learn from itself: give a copy of it, or a run."
        )
    if technique.distill_weight > 0:
        weight = technique.distill_weight
        if output.ndim < 2 or output.shape[1] < 2:
            told = _("distill_weight={weight} needs scores of two or more classes", weight=weight)
            return _("{told}; the outputs for a sample are {shape}.", told=told, shape=_shape(output))
        try:
            given = technique.ask(batch[0])
        except Exception as error:  # the user's own module
            return _refuse_samples(technique, batch[0], error)
        if given[:, 0].shape != output.shape:
            sizes = {"given": _shape(given[:, 0]), "own": _shape(output)}
            told = _("for a sample, the teacher returns {given} scores and the model {own}", **sizes)
            return _("{told}; they must have the same classes. Give another teacher, or distill_weight=0.", told=told)
    return _refuse_layers(technique, batch[0]) if technique.looks_inside else ""


def _refuse_layers(technique: Any, x: Tensor) -> str:
    if len(technique.teachers) > 1:
        return _("attention maps and features need a single teacher, and there are {n}.", n=len(technique.teachers))
    if technique.layers is not None:
        _check_names(technique.context.model, technique.teachers[0], technique.layers)
    try:
        _said, theirs = technique.overhear(x)
    except Exception as error:  # the user's own module
        return _refuse_samples(technique, x, error)
    pairs = technique.pair(theirs)
    way = _("name them, nbopt.Distill(teacher, layers={model's: teacher's})")
    if not pairs:
        return _("model and teacher have no layers that go together by themselves: {way}.", way=way)
    for (one, other), heard in ((pair, (technique.heard.get(pair[0]), theirs.get(pair[1]))) for pair in pairs):
        if heard[0] is None or heard[1] is None:
            name = one if heard[0] is None else other
            return _("layers: {name} gives no tensor in this pass.", name=name)
        sizes = _("{one} gives {ours}, {other} of the teacher {theirs}")
        sizes = sizes.format(one=one, other=other, ours=_shape(heard[0]), theirs=_shape(heard[1]))
        if heard[0].ndim != heard[1].ndim or heard[0].ndim not in (2, 4):
            return _("layers: {sizes}: both have to give features, or both images.", sizes=sizes)
        if technique.attention_weight > 0 and heard[0].ndim == 4 and heard[0].shape[2:] != heard[1].shape[2:]:
            return _("attention_weight: {sizes}: attention maps need images of one size.", sizes=sizes)
    if technique.attention_weight > 0 and not any(technique.heard[one].ndim == 4 for one, _other in pairs):
        return _("attention_weight: attention maps are of images, and no layer that is compared gives any.")
    return ""


def _refuse_samples(technique: Any, x: Tensor, error: Exception) -> str:
    # The user's own modules: what one of them raises is told below.
    with suppress(Exception), torch.no_grad():
        shapes = {_shape(teacher(x)): None for teacher in technique.teachers}
        if len(shapes) > 1:
            told = _("for a sample, the teachers return {shapes} scores", shapes=_(" and ").join(shapes))
            return _("{told}; they must have the same classes.", told=told)
    told = _("the teacher cannot take the samples of this run, {shape}", shape=_shape(x))
    return f"{told}: {tell_error(error)}"


def _check_names(model: nn.Module, teacher: nn.Module, layers: Mapping[str, str]) -> None:
    """Raise an error in words for a layer that is not there."""
    for whose, module, names in ((_("the model"), model, layers.keys()), (_("the teacher"), teacher, layers.values())):
        known = dict(module.named_modules())
        for name in names:
            if name not in known:
                raise unknown(_("module of {whose}", whose=whose), name, [each for each in known if each])


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape[1:])) or _("one number")
