"""Why steps done again gave something else, as far as that can be known: looked for only once they did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import torch

from nbopt.i18n import _
from nbopt.objects.reaching import outer_values
from nbopt.run.stored.fingerprint import circumstances, differences
from nbopt.training.snapshots.outside import name_unheld
from nbopt.training.user_code.modes import find_modes
from nbopt.training.user_code.own_code import data_parts, is_own, names_of, own_functions

if TYPE_CHECKING:
    from nbopt.training.training import Training

_TOOLS = ("python", "torch", "threads", "processor")
_CLOCKS = {"time", "datetime"}
_UNSEEDED = {"secrets", "uuid"}  # modules
_UNSEEDED_NAMES = {"urandom", "getrandom", "SystemRandom", "default_rng"}
_NAMED = 3


def find_causes(training: Training, made_with: Mapping[str, Any]) -> list[str]:
    """Return in words what may have made the difference.

    Parameters
    ----------
    training : Training
        Of the run that did steps again.
    made_with : mapping
        What `circumstances` returned of the run that did them the first time; entries may be missing.
    """
    now = circumstances(training)
    then, today = ({name: part[name] for name in _TOOLS if name in made_with} for part in (made_with, now))
    found = differences(then, today, "")
    if made_with.get("data") is not None:
        found += differences(made_with["data"], now["data"], _("data"))
    if made_with.get("python") == now["python"]:
        code = {name: digest for name, digest in now["code"].items() if name in made_with.get("code", {})}
        changed = [name for name, digest in code.items() if digest != made_with["code"][name]]
        if changed:
            found.append(_("the code of {names} was changed", names=", ".join(changed[:_NAMED])))
    found = [text.removeprefix(": ") for text in found]
    modes, here = made_with.get("modes", []), find_modes()
    found += [_("{mode} is not on now", mode=mode) for mode in modes if mode not in here]
    found += [_("{mode} is on now", mode=mode) for mode in here if mode not in modes]
    for name, function in own_functions(training):
        found += [_("{function} reads {source}", function=name, source=source) for source in _unrepeatable(function)]
    found += _find_iterators(training)
    if unheld := name_unheld(training):
        found.append(_("no snapshot holds {names}", names=", ".join(unheld[:_NAMED])))
    if training.device.type != "cpu" and not torch.are_deterministic_algorithms_enabled():
        found.append(
            _(
                "on {device}, some operations sum in a different order each time, unless "
                "torch.use_deterministic_algorithms(True) was called",
                device=training.device.type,
            )
        )
    return list(dict.fromkeys(found))


def _find_iterators(training: Training) -> list[str]:
    """Say which parts of the data can be gone through only once."""
    return [
        _("{name} of {owner} is an iterator, which cannot be restarted", name=name, owner=type(part).__name__)
        for part in data_parts(training)
        if is_own(type(part))
        for name, value in getattr(part, "__dict__", {}).items()
        if hasattr(value, "__next__")
    ]


def _unrepeatable(function: FunctionType) -> Iterator[str]:
    """Yield in words what a function reads that is another each time."""
    names = set(names_of(function.__code__))
    for name, value in outer_values(function):
        if value is None and name in _CLOCKS | _UNSEEDED:  # imported in the function
            home = name
        elif isinstance(value, ModuleType):
            home = value.__name__
        else:
            home = str(getattr(value, "__module__", "")) if callable(value) else ""
        if home in _CLOCKS:
            yield _("the clock ({name})", name=name)
        elif home in _UNSEEDED or name in _UNSEEDED_NAMES:
            yield _("random numbers that no seed repeats ({name})", name=name)
        elif isinstance(value, ModuleType) and (drawn := sorted(names & _UNSEEDED_NAMES)):
            yield _("random numbers that no seed repeats ({name})", name=f"{name}.{drawn[0]}")
