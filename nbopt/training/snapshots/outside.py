"""What a run's model and loss keep outside of ``state_dict``: attributes, and buffers that are not persistent.

Snapshots hold it, as far as it can be copied; `name_unheld` says what cannot.
"""

from __future__ import annotations

import dis
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from inspect import signature
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from nbopt.i18n import _
from nbopt.objects.keeper import Keeper, Packed
from nbopt.objects.kinds import holds_attributes, is_constant, is_open
from nbopt.objects.putting import Putting
from nbopt.objects.reaching import outer_values
from nbopt.objects.taking import Taking
from nbopt.record.sharing import shared
from nbopt.techniques.optimizers.groups import hooks_of
from nbopt.training.core import Core
from nbopt.training.snapshots.hooked import find_hooked
from nbopt.training.snapshots.moments import find_other, put_other
from nbopt.training.user_code.callables import functions_of, owners_of

if TYPE_CHECKING:
    from nbopt.record.snapshots import Snapshot


_OPTIMIZER = "optimizer"
_HOOK = "hook of the optimizer: "


def keep(training: Core, state: Mapping[str, Any], tensors: dict[str, Tensor]) -> dict[str, Packed]:
    """Return what the run's objects keep besides ``state``, the model's ``state_dict``; tensors go to ``tensors``."""
    keeper, held = training.keeper, _held(training, state)
    extra = {"model": _extra(state)}
    roots = roots_of(training)
    hooked = {f"{_HOOK}{name}": value for name, value in find_hooked(training.torch_optimizer, roots)[0].items()}
    extra |= {name: _extra(module.state_dict()) for name, module in training.material.others.items()}
    kept: dict[str, Packed] = {
        "token": keeper.token,
        "roots": Taking(keeper, tensors, held).take({**roots, **hooked, _OPTIMIZER: find_other(training)}),
        "extra": Taking(keeper, tensors).take({"extra": extra, "best": _extra(training.best_weights)}),
    }
    keeper.last = shared(kept, keeper.last)  # it takes more objects than all the rest of a snapshot
    return keeper.last


def put_back(training: Core, kept: Mapping[str, Packed], tensors: Mapping[str, Tensor]) -> None:
    """Give the run's objects what `keep` returned, weights and buffers apart."""
    parts = {name.removeprefix("own."): t for name, t in tensors.items() if name.startswith(("model.", "own."))}
    putting = Putting(training.keeper, tensors, parts, training.device, foreign=kept["token"] not in Keeper.tokens)
    roots = roots_of(training)
    found, _shared, left = find_hooked(training.torch_optimizer, roots)
    hooked = {f"{_HOOK}{name}": value for name, value in found.items()}
    putting.put({**roots, **hooked}, kept["roots"])
    looking = Taking(training.keeper, None)
    looking.take(hooked)
    missing = [name for name in hooked if name not in kept["roots"]]
    if lost := [*putting.lost, *(f"{_HOOK}{name}" for name in left), *looking.left, *missing]:
        names = ", ".join(dict.fromkeys(lost))
        training.lost = _("{names} could not be put back to what it was", names=names)
        training.pass_.tell(_("not exact from here on: {reason}.", reason=training.lost))


def put_optimizer(training: Core, kept: Mapping[str, Packed], tensors: Mapping[str, Tensor]) -> None:
    """Have the optimizer remember what `keep` found in it, once its tensors are there."""
    putting = Putting(training.keeper, tensors, {}, training.device, foreign=kept["token"] not in Keeper.tokens)
    putting.know(roots_of(training))
    put_other(training, putting.value(kept["roots"][_OPTIMIZER], find_other(training), _OPTIMIZER))


def extra_state(training: Core, kept: Mapping[str, Packed], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return what ``get_extra_state`` gave, by module, and of the best weights."""
    found: dict[str, Any] = {}
    putting = Putting(training.keeper, tensors, {}, training.device)
    for name, packed in kept["extra"].items():
        found[name] = putting.value(packed, None, name)
    return {**found["extra"], "best": found["best"]}


def go_to_structure(model: nn.Module, keeper: Keeper, snapshot: Snapshot) -> None:
    """Take out of a copy of the model what steps added to it after a snapshot, as a layer that the first one makes."""
    kept = snapshot.facts.get("kept")
    if kept is not None:
        putting = Putting(Keeper(keeper), snapshot.tensors, snapshot.tensors, find_device(model))
        putting.put({"model": model}, kept["roots"])


def find_device(model: nn.Module) -> torch.device:
    """Return where a model's first weight is."""
    return next((weight.device for weight in model.parameters()), torch.device("cpu"))


@contextmanager
def unchanged(training: Core, buffers: bool = True) -> Iterator[None]:
    """Have the run's objects keep afterwards what they keep now, weights apart.

    Parameters
    ----------
    training : Core
        Where it did steps meanwhile, or got another shape, nothing is put back.
    buffers : bool
        Whether that is said of buffers in ``state_dict`` too.
    """
    tensors: dict[str, Tensor] = {}
    keeper, roots, place = Keeper(), roots_of(training), (training.step, training.edits)
    held = training.material.parameters if buffers else _held(training, training.model.state_dict())
    kept = Taking(keeper, tensors, held).take(roots)
    try:
        yield
    finally:
        if (training.step, training.edits) == place:
            Putting(keeper, tensors, {}, training.device).put(roots, kept)


def name_unheld(training: Core) -> list[str]:
    """Return what a run may depend on that no snapshot holds, in words: ``model.cache (a Foo)``.

    Which of these change, and whether a loss depends on it, is not known: they are possible causes where steps done
    again do not give what they gave the first time. Named are attributes that nothing can copy or that are too large,
    and variables outside of all objects that ``forward`` and loss set, or that they read and that may change: modules,
    tensors, containers, iterators and objects of the user's.
    """
    looking = Taking(training.keeper, None, _held(training, training.model.state_dict()))
    looking.take(roots := roots_of(training))
    known = {id(module) for root in roots.values() if isinstance(root, nn.Module) for module in root.modules()}
    known |= {id(root) for root in roots.values()} | {id(training.torch_optimizer)}
    known |= {id(value) for value in find_hooked(training.torch_optimizer, roots)[0].values()}
    found = [f"{place} ({what})" for place, what in looking.left.items()]
    named = [("forward", training.pass_.forward), *(("loss", function) for function in functions_of(training.loss))]
    named += [(type(module).__name__, type(module).forward) for module in training.model.modules()]
    named += [(_("a hook of the optimizer"), hook) for hook in hooks_of(training.torch_optimizer)]
    for name, function in dict.fromkeys(named):
        function = getattr(function, "__func__", function)
        if isinstance(function, FunctionType) and _is_theirs(function):
            found += [_("{variable}, which {name} sets", variable=own, name=name) for own in _written(function)]
            found += [_("{variable}, which {name} reads", variable=own, name=name) for own in _read(function, known)]
    return list(dict.fromkeys(found))


def roots_of(training: Core) -> dict[str, Any]:
    """Return the objects that the run's steps use, by name: modules, and what loss and forward are."""
    roots: dict[str, Any] = {"model": training.model, **training.material.others}
    named = [("loss", function) for function in functions_of(training.loss)]
    for name, function in [*named, ("forward", training.pass_.forward)]:
        for owner in owners_of(function):
            if all(owner is not known for known in roots.values()):
                roots[name if name not in roots else f"{name} {len(roots)}"] = owner
    return roots


def compare(
    one: Packed, other: Packed, before: Mapping[str, Tensor], after: Mapping[str, Tensor], place: str = ""
) -> list[str]:
    """Return where two things that `keep` took down one after the other differ."""
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        named = [isinstance(a, list) and len(a) > 1 and isinstance(a[0], str) for a in one]
        names = [f"{place}.{a[0]}" if is_named else place for a, is_named in zip(one, named, strict=True)]
        pairs = zip(one, other, names, strict=True)
        return list(dict.fromkeys(found for a, b, name in pairs for found in compare(a, b, before, after, name)))
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        if (name := one.get("tensor", one.get("array"))) is not None:
            return [] if before.get(name) is after.get(name) else [place]
        parts = [(key if not place and isinstance(one[key], dict) else place, key) for key in one]
        return list(
            dict.fromkeys(found for name, key in parts for found in compare(one[key], other[key], before, after, name))
        )
    return [] if one == other else [place]


def _held(training: Core, state: Mapping[str, Any]) -> list[str]:
    own = [f"model.{name}" for name, value in state.items() if isinstance(value, Tensor)]
    return [*own, *training.material.tensors()]


def _extra(state: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in state.items() if not isinstance(value, Tensor)}


def _written(function: FunctionType) -> list[str]:
    """Return the variables around a function that it sets."""
    found: list[str] = []
    waiting: list[CodeType] = [function.__code__]
    for code in waiting:  # which grows by the functions written in it
        waiting += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
        for instruction in dis.get_instructions(code):
            own = instruction.opname == "STORE_DEREF" and instruction.argval in function.__code__.co_freevars
            if own or instruction.opname == "STORE_GLOBAL":
                found.append(str(instruction.argval))
    return found


def _is_theirs(function: FunctionType) -> bool:
    """Whether a function is the user's own, and of no library."""
    ours = str(function.__module__).startswith(("torch.", "nbopt."))
    return not ours and "site-packages" not in function.__code__.co_filename


def _read(function: FunctionType, known: set[int]) -> list[str]:
    """Return the variables around a function that hold what may change, but for those that are ``known``."""
    given = {each.name: each.default for each in signature(function).parameters.values()}
    kinds = (nn.Module, Tensor, list, dict, set, deque, np.ndarray)
    return [
        name
        for name, value in {**dict(outer_values(function)), **given}.items()
        if id(value) not in known
        and not is_constant(value)
        and (isinstance(value, kinds) or is_open(value) or holds_attributes(value))
    ]
