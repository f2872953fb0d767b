"""The techniques that every run has, in the order in which they act."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import nn

from nbopt.data.cursor import Cursor
from nbopt.hyperparams import Hyperparam, Strategy, Tunable
from nbopt.i18n import _
from nbopt.techniques.base import Technique, called, defines, hooks_of
from nbopt.techniques.compression.activation_bits import ActivationBits
from nbopt.techniques.compression.bits import WeightBits
from nbopt.techniques.compression.codebook import Codebook
from nbopt.techniques.compression.distill import Distill
from nbopt.techniques.compression.group_lasso import GroupLasso
from nbopt.techniques.compression.sparsity import Sparsity
from nbopt.techniques.compression.ticket import Ticket
from nbopt.techniques.guard import Guard
from nbopt.techniques.hooks import HOOKS
from nbopt.techniques.hyperdescent import HyperDescent
from nbopt.techniques.initialization import Initialization
from nbopt.techniques.inputs.augmentation import Flip, InputNoise, Mixup, Warp
from nbopt.techniques.inputs.preprocessing import Cleaning, Scaling
from nbopt.techniques.losses.choice import LOSS
from nbopt.techniques.optimizers.accumulation import Accumulation
from nbopt.techniques.optimizers.standard import OPTIMIZER
from nbopt.techniques.plan import Plan
from nbopt.techniques.precision.channels_last import ChannelsLast
from nbopt.techniques.precision.mixed import Precision
from nbopt.techniques.promises import check_compiles
from nbopt.techniques.regularization.clipping import ClipNorm, ClipValue, MaxNorm
from nbopt.techniques.regularization.dropout import Dropout
from nbopt.techniques.regularization.early_stopping import EarlyStopping
from nbopt.techniques.regularization.penalties import L1
from nbopt.techniques.schedules.choice import SCHEDULE
from nbopt.techniques.schedules.planned import Warmup

Item = type[Technique] | Strategy

_COURSE: tuple[Item, ...] = (Dropout, Accumulation, Initialization, EarlyStopping, HyperDescent, Guard)
_FORMS: tuple[Item, ...] = (Precision, ChannelsLast)
_OTHERS: tuple[Item, ...] = (
    *(Cleaning, Scaling),
    *(Warp, Flip, Mixup, InputNoise),
    *(L1, GroupLasso, ClipValue, ClipNorm),
    *(Warmup, SCHEDULE),
    MaxNorm,
    *(Sparsity, WeightBits, Codebook, ActivationBits),  # what is pruned is not rounded
)
PARTS = (*_COURSE, *_OTHERS, *_FORMS)
"""Classes that always stand ready, and choices of one class among several."""

ALWAYS: tuple[type[Technique], ...] = tuple(item for item in PARTS if isinstance(item, type))

SHOWN: tuple[type[Tunable] | Hyperparam[Any], ...] = (
    *(OPTIMIZER, Dropout, Cursor, Plan, EarlyStopping, LOSS),
    *(*_OTHERS, *_FORMS),
    *(Accumulation, Initialization, HyperDescent, Guard),
)
"""All that a run declares, in the order in which it is shown."""

GIVEN: dict[type[Technique], str] = {Distill: "nbopt.Distill(teacher)", Ticket: "nbopt.Ticket(pruned)"}
"""Techniques that act on something of the user's, so that a run has them only if they are given; and how they are."""


def with_own(own: Sequence[Technique]) -> tuple[Item | Technique, ...]:
    """Return all techniques of a run that was given some of its user's: those act within mixed precision."""
    return (*_COURSE, *_OTHERS, *own, *_FORMS)


def known_of(own: Sequence[Technique]) -> list[type[Technique] | Technique]:
    """Return the techniques that stand ready in a run that was given some of its user's: those of nbopt as classes."""
    return [*ALWAYS, *own]


def check_techniques(given: Any) -> tuple[Technique, ...]:
    """Return the techniques given to a run, as instances.

    Raises
    ------
    TypeError
        For anything else than classes and instances of `Technique`, and for a method that is nearly called as a hook.
    ValueError
        For two of one class, or a name that something of nbopt has.
    """
    if given is None:
        return ()
    rule = _("techniques must be a list of classes or instances of nbopt.Technique")
    if not isinstance(given, Iterable) or isinstance(given, (str, bytes)):
        raise TypeError(_("{rule}; got {given!r}.", rule=rule, given=given))
    found: list[Technique] = []
    names = {item.__name__ if isinstance(item, type) else item.name for item in PARTS}
    for item in given:
        made: Any = item
        if isinstance(item, type) and issubclass(item, Technique):
            try:
                made = item()
            except TypeError as error:
                way = _("give an instance instead of the class")
                raise TypeError(f"{item.__name__}: {error}: {way}.") from error
        if not isinstance(made, Technique):
            raise TypeError(_("{rule}; {given!r} is none.", rule=rule, given=item))
        name = type(made).__name__
        if name in names:
            raise ValueError(_("techniques: there is a {name} already: give yours another name.", name=name))
        _check_hooks(type(made))
        check_compiles(made)
        names.add(name)
        found.append(made)
    return tuple(found)


def still_values(own: Sequence[Technique]) -> dict[str, Any]:
    """Return values by which no technique moves the learning rate."""
    known = known_of(own)
    return {SCHEDULE.name: SCHEDULE.default, **values_off(known, "change_rate"), **values_off(known, "propose")}


def values_off(techniques: Iterable[type[Technique] | Technique], hook: str) -> dict[str, Any]:
    """Return the values by which none of those techniques acts that define a hook."""
    found: dict[str, Any] = {}
    for item in techniques:
        if defines(item if isinstance(item, type) else type(item), hook):
            found.update(item.off)
    return found


def find_proposing(own: Sequence[Technique]) -> set[str]:
    """Return what the journal calls the techniques that ask for changes by themselves."""
    kinds = [item if isinstance(item, type) else type(item) for item in known_of(own)]
    return {called(kind) for kind in kinds if defines(kind, "propose")}


def may_end(
    techniques: Iterable[type[Technique] | Technique], inert: set[str], changes: Iterable[Mapping[str, Any]]
) -> bool:
    """Return whether, with any of these changes, a technique is at work that may end a run."""
    off = values_off(techniques, "end_reason")
    known = off.keys() - inert
    return any(change[name] != off[name] for change in changes for name in known & change.keys())


def of_models(own: Sequence[Technique]) -> set[str]:
    """Return the hyperparameters whose values a model brings by itself."""
    return {name for item in known_of(own) for name in item.of_model}


def find_several(model: nn.Module, own: Sequence[Technique]) -> set[str]:
    """Return the hyperparameters that a model has several values of."""
    return {name for item in known_of(own) for name in item.find_several(model)}


def find_modules(own: Iterable[Technique]) -> list[nn.Module]:
    """Return the modules that techniques were made with, as a teacher."""
    found = []
    for technique in own:
        arguments, settings = technique.made_with
        found += [item for item in (*arguments, *settings.values()) if isinstance(item, nn.Module)]
    return found


def _check_hooks(kind: type[Technique]) -> None:
    methods = [name for name in vars(kind) if not name.startswith("_") and not hasattr(Technique, name)]
    for name in methods:
        if callable(getattr(kind, name)) and (near := difflib.get_close_matches(name, HOOKS, 1, 0.85)):
            rule = _("{name} is no hook, and nothing would call it", name=name)
            raise TypeError(_("{kind}: {rule}. Did you mean {near!r}?", kind=kind.__name__, rule=rule, near=near[0]))
    if not hooks_of(kind) and not kind.declared():
        raise TypeError(_("{kind} defines no hook: one of {names}.", kind=kind.__name__, names=", ".join(HOOKS)))
