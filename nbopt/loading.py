"""Pausing the garbage collector while much is made: imports, members of a population."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collecting() -> Iterator[None]:
    """Pause Python's garbage collector, where nothing becomes garbage: while modules are imported, or many runs made.

    Each of its rounds looks at all objects of torch, and thousands of new ones set off several rounds: a sixth of the
    time that a run takes from its construction to the first step.
    """
    paused = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if paused:
            gc.enable()


@contextmanager
def making_what_stays() -> Iterator[None]:
    """Pause it while many runs are made, and have them in the oldest generation at once.

    As survivors of two rounds, the members of a study would bring about a look at all objects of the process. Where
    somebody has objects frozen, nothing is moved: they are to stay so.
    """
    moves = gc.isenabled() and not gc.get_freeze_count()
    if moves:
        gc.collect(1)  # what is garbage by now would be taken along
    with without_collecting():
        yield
        if moves:
            gc.freeze()
            gc.unfreeze()
