"""Pausing the garbage collector while much is made: imports, members of a population."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collecting() -> Iterator[None]:
    """Pause Python's garbage collector, where nothing becomes garbage: while modules are imported, or many runs made.

    Each of its rounds looks at all objects of torch, and thousands of new ones set off several rounds: a sixth of the
    time that a run takes from its construction to the first step. What was made goes to the oldest generation at once,
    since it is to stay: as survivors of two rounds, the members of a study would bring about a look at all objects.
    """
    paused = gc.isenabled()
    if paused:
        gc.collect(1)  # what is garbage by now would be taken along
    gc.disable()
    try:
        yield
    finally:
        if paused:
            if not gc.get_freeze_count():  # else somebody has objects frozen, which are to stay so
                gc.freeze()
                gc.unfreeze()
            gc.enable()
