"""Which executor a study has, by name."""

from __future__ import annotations

import os
from typing import Any

from nbopt.errors import InvalidHyperparam, shorten, unknown
from nbopt.hyperparams import Int
from nbopt.i18n import _
from nbopt.search.executors.batched import Batched
from nbopt.search.executors.evolving import NAME, Evolving
from nbopt.search.executors.executor import Executor, Inline, Threads
from nbopt.search.samplers import slopes
from nbopt.search.samplers.pruners import is_asynchronous
from nbopt.search.samplers.samplers import UNTAUGHT
from nbopt.search.subjects.building import Blueprint

EXECUTORS = ("auto", "inline", "population", "threads", "processes", "ray")

_TOGETHER, _UNSEEN = 8, 64  # trials at once at most; more where the sampler does not look at what it found
_TOLD = 10  # how often a sampler that learns is told what was found, at least
_FASTER = 6  # trainings of a small model at once that take less time than one after the other; five take as long
_TAUGHT = 4  # trials for each of those that others do not know of, at least, where one begins whenever one has ended
_MOST_WEIGHTS = 2**22  # of all trials at once, where many are
_SMALL = 300_000  # weights of a model that trains faster among others
_ALIKE = 2  # trials of a shape, on average, from which on they are faster as members of populations
_BLIND = ("grid", "qmc", "random")


def batch_sizes(trials: int, sampler: Any) -> tuple[int, int]:
    """Return how many trials a sampler that learns is asked for at once: at first, and then.

    At first those that it draws at random anyway. Of later ones the fewer, the fewer there are to be: what it is asked
    for at once, it chooses without knowing how the others of the batch end.
    """
    batch = min(trials, _TOGETHER, max(2, trials // _TOLD))
    untaught = UNTAUGHT.get(sampler, 0) if isinstance(sampler, str) else 0
    return min(trials, max(untaught, batch)), batch


def _lets_train(pruner: Any) -> bool:
    """Whether a pruner needs no trial that has ended before others begin."""
    return pruner in (None, "none") or is_asynchronous(pruner)


def _workers(trials: int, sampler: Any) -> int:
    """Return how many of this machine's cores are used; of one that learns, so few that it does."""
    cores = os.cpu_count() or 1
    return cores if sampler in _BLIND else min(cores, max(2, trials // _TAUGHT))


def sizes_of(executor: Executor) -> dict[str, int]:
    """Return what `choose_executor` is to be given to choose the same again."""
    if isinstance(executor, Batched):
        return {"slots": executor.batch, "first": executor.first}
    return {"slots": executor.slots, "first": 0}


def choose_executor(
    given: Any,
    slots: int | None,
    blueprint: Blueprint | None,
    trials: int,
    sampler: Any,
    pruner: Any = None,
    first: int = 0,
) -> Executor:
    """Return what carries trials out.

    Parameters
    ----------
    given : str or Executor
    slots : int, optional
        How many trials at once.
    blueprint : Blueprint or None
        What trials are made of, where nbopt does the training.
    trials : int
    sampler, pruner : object
    first : int
        Of ``slots`` that were chosen before, the size of the first batch.

    Raises
    ------
    UnknownName, InvalidHyperparam
        For what is none.
    """
    if sampler == NAME:
        if blueprint is None or given not in ("auto", "population") or slots not in (None, trials):
            rule = _("population-based training has all trials train together, by nbopt")
            raise InvalidHyperparam(_("sampler 'pbt': {rule}: give build=, and no other executor or slots.", rule=rule))
        return Evolving(trials, blueprint.techniques)
    if sampler == slopes.NAME:
        if given not in ("auto", "inline") or slots not in (None, 1):
            rule = _("each trial begins with what the one before found, so that they go one after the other")
            raise InvalidHyperparam(_("sampler 'hypergradient': {rule}; leave executor and slots out.", rule=rule))
        return Inline()
    if not isinstance(given, str):
        if all(
            hasattr(given, name) for name in ("submit", "set", "events", "cancel", "hold", "known", "compared", "close")
        ):
            executor: Executor = given
            return executor
        rule = _("executor must be a name ({names}) or have the methods of one", names=", ".join(EXECUTORS))
        raise InvalidHyperparam(_("{rule}; got {value}.", rule=rule, value=shorten(given)))
    if given not in EXECUTORS:
        raise unknown(_("executor"), given, EXECUTORS)
    if slots is not None:
        number = Int(1, low=1, high=1, ge=1)
        number.name = "slots"
        slots = number.check(slots)
    if given == "population" and blueprint is None:
        rule = _("only trials that nbopt trains can be members of a population")
        raise InvalidHyperparam(_("executor: {rule}; give build=, or another executor.", rule=rule))
    if given == "threads":
        return Threads(slots or _workers(trials, sampler))
    if given == "processes":
        from nbopt.search.executors.processes import Processes

        return Processes(slots or min(trials, _workers(trials, sampler)))
    if given == "ray":
        from nbopt.search.executors.on_ray import OnRay

        return OnRay(slots)
    if slots is None:
        first, slots = batch_sizes(trials, sampler)
        if sampler in _BLIND and blueprint is not None and _lets_train(pruner):
            most = max(_TOGETHER, min(_UNSEEN, _MOST_WEIGHTS // max(1, blueprint.weights)))
            first, slots = 0, min(trials, most)
        elif given == "auto" and blueprint is not None and first < trials and slots * blueprint.runs < _FASTER:
            slots = 1  # the sampler would know less, and nothing would be gained
    small = blueprint is not None and blueprint.weights <= _SMALL
    if blueprint is not None and given == "auto" and small:
        given = "population" if slots > 1 and trials >= _ALIKE * blueprint.shapes else given
    if blueprint is not None and given == "population":
        return Batched(slots, blueprint.techniques, trials, is_asynchronous(pruner), first)
    return Inline()
