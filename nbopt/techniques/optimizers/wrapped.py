"""Optimizers that step by another one that they hold, as Lookahead does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from nbopt.errors import InvalidHyperparam
from nbopt.i18n import _


def inner_of(optimizer: torch.optim.Optimizer) -> dict[str, torch.optim.Optimizer]:
    """Return the optimizers that an optimizer holds, by the names of its attributes."""
    return {name: value for name, value in vars(optimizer).items() if isinstance(value, torch.optim.Optimizer)}


def check_whole(optimizer: torch.optim.Optimizer) -> None:
    """See that what is set in an optimizer's parameter groups acts, and that torch can load its state.

    Raises
    ------
    InvalidHyperparam
        If it was made without torch's own ``__init__``, or steps by another one with other groups.
    """
    name = type(optimizer).__name__
    if "defaults" not in vars(optimizer) or "_optimizer_step_pre_hooks" not in vars(optimizer):
        rule = _("its __init__ has to call super().__init__(params, defaults), which makes what torch keeps in each")
        said = _("the optimizer given, {name}, is no whole torch.optim.Optimizer", name=name)
        raise InvalidHyperparam(_("{said}: {rule}.", said=said, rule=rule))
    for own, inner in inner_of(optimizer).items():
        if not all(_places(inner, optimizer)):
            rule = _("let it share them, self.param_groups = self.{own}.param_groups", own=own)
            said = _("{name} steps by another optimizer ({own}), whose parameter groups are others", name=name, own=own)
            raise InvalidHyperparam(
                _("{said}, so that no learning rate set would reach it: {rule}.", said=said, rule=rule)
            )


@contextmanager
def still_shared(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Have an optimizer share with those that it holds what it shares with them now, whatever it loads meanwhile."""
    held = list(inner_of(optimizer).values())
    places = [_places(inner, optimizer) for inner in held]
    alike = [inner.param_groups is optimizer.param_groups for inner in held]
    states = [inner.state is optimizer.state for inner in held]
    yield
    for inner, own, same_list, same_state in zip(held, places, alike, states, strict=True):
        groups = [optimizer.param_groups[place[0]] for place in own if place]
        inner.param_groups = optimizer.param_groups if same_list else groups
        if same_state:
            inner.state = optimizer.state


def _places(inner: torch.optim.Optimizer, optimizer: torch.optim.Optimizer) -> list[list[int]]:
    """Return where each parameter group of one optimizer is among those of the other: once, or nowhere."""
    groups = optimizer.param_groups
    return [[k for k, group in enumerate(groups) if group is own] for own in inner.param_groups]
