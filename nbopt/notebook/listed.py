"""What trains in this kernel, for lists of it: runs, and what trains many at once. Imports nothing heavy."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nbopt.run.session.registry import live_runs

if TYPE_CHECKING:
    from nbopt.run.session.operable import Driven

Facts = Callable[[Any], list[str]]

_crowds: dict[str, tuple[weakref.ref[Any], Facts]] = {}  # by id, oldest first


def enter(crowd: Driven, facts: Facts) -> None:
    """Take note of a population or a study, for as long as somebody holds it.

    Parameters
    ----------
    crowd : Driven
    facts : callable
        Returns where it is, in words, in the place of a run's epoch, step and loss.
    """
    _crowds.setdefault(crowd.id, (weakref.ref(crowd), facts))


def listed() -> list[Driven]:
    """Return the runs, populations and studies of this process: runs first, each kind oldest first."""
    for number, (ref, _facts) in list(_crowds.items()):
        if ref() is None:
            _crowds.pop(number, None)
    crowds = [ref() for ref, _facts in list(_crowds.values())]
    return [*live_runs(), *(crowd for crowd in crowds if crowd is not None)]


def facts_of(thing: Driven) -> list[str] | None:
    """Return where a population or a study is, in words; None for a run."""
    _ref, facts = _crowds.get(thing.id, (None, None))
    return None if facts is None else facts(thing)


def find(name: str) -> list[Driven]:
    """Return what has this id, else all that are called so; of what was opened again in this kernel, the last."""
    things = {thing.id: thing for thing in listed()}
    return [things[name]] if name in things else [thing for thing in things.values() if thing.name == name]
