"""Which executor a study has, by name."""

from __future__ import annotations

import os
from typing import Any

from nbopt.errors import InvalidHyperparam, shorten, unknown
from nbopt.hyperparams import Int
from nbopt.i18n import _
from nbopt.search.executors import Executor, Inline, Threads

EXECUTORS = ("auto", "inline", "threads")


def choose_executor(given: Any, slots: int | None, makes_runs: bool, trials: int) -> Executor:
    """Return what carries trials out.

    Parameters
    ----------
    given : str or Executor
    slots : int, optional
        How many trials at once.
    makes_runs : bool
        Whether nbopt does the training.
    trials : int

    Raises
    ------
    UnknownName, InvalidHyperparam
        For what is none.
    """
    if not isinstance(given, str):
        if all(hasattr(given, name) for name in ("submit", "set", "events", "cancel", "hold", "known")):
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
    if given == "threads":
        return Threads(slots or os.cpu_count() or 1)
    return Inline()
