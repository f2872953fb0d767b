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
