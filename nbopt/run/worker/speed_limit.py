"""Holds a run back to so many steps a second, for a person to follow it; the rest of the time it waits.

Nothing of the training depends on it: journal, numbers and a replay are the same at any speed.
"""

from __future__ import annotations

import math
import numbers
import time
from collections.abc import Callable
from typing import Any

from nbopt.errors import InvalidHyperparam, shorten
from nbopt.i18n import _
from nbopt.run.session.session import Session

_SLICE_SECONDS = 0.1  # a signal's handler, which must not wait for a lock, wakes nobody


class SpeedLimit:
    """How many steps a second a run does at most: a `nbopt.training.loop.Limit`.

    Parameters
    ----------
    session : Session
        Woken by its `moved`.
    is_wanted : callable
        Whether steps are to be held back now.
    is_called : callable
        Whether something else is to be looked at before the next step; asked under the session's lock.

    Attributes
    ----------
    speed : float or None
        Steps a second; None: as fast as it goes.
    """

    def __init__(self, session: Session, is_wanted: Callable[[], bool], is_called: Callable[[], bool]) -> None:
        self.speed: float | None = None
        self._session = session
        self._is_wanted = is_wanted
        self._is_called = is_called
        self._last = -math.inf  # when the newest step was due

    @property
    def holds(self) -> bool:
        """Whether steps are held back now."""
        return self.speed is not None and self._is_wanted()

    def change(self, speed: Any) -> None:
        """Take another speed, which acts at once.

        Raises
        ------
        InvalidHyperparam
            For anything but a positive number or None.
        """
        checked = check_speed(speed)
        with self._session.lock:
            self.speed = checked
            self._session.announce()

    def begin(self) -> None:
        """Have the next step done at once: the run sets out."""
        self._last = -math.inf

    def wait(self) -> bool:
        """Wait until the next step is due; return False, at once, if something else is to be looked at first."""
        session = self._session
        while (speed := self.speed) is not None and self._is_wanted():
            now = time.perf_counter()
            due = self._last + 1 / speed
            if now >= due:
                # What a sleep took too long is made up for; what a step took too long is not.
                self._last = due if now - due < 1 / speed else now
                return True
            with session.lock:
                if self._is_called():
                    return False
                session.moved.wait(min(due - now, _SLICE_SECONDS))
        return True


def check_speed(speed: Any) -> float | None:
    """Return a speed, in steps a second, if it is one; None is none."""
    if speed is None:
        return None
    if isinstance(speed, bool) or not isinstance(speed, numbers.Real) or not 0 < float(speed) < math.inf:
        raise InvalidHyperparam(
            _(
                "speed must be a positive number of steps a second, or None for as fast as it goes; got {value}. "
                "run.pause() holds the run.",
                value=shorten(speed),
            )
        )
    return float(speed)
