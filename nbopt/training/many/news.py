"""How often those who step many runs look whether somebody waits for what is done between two steps."""

from __future__ import annotations

import time
from collections.abc import Callable

_SECONDS, _CALM_SECONDS = 0.015, 0.1  # between two looks: while somebody acts, and while nobody does
_ALERT = 1.0  # seconds after somebody acted
_URGENT_SECONDS = 0.004  # between two looks in the middle of a step


class News:
    """Looks whether there is news, often while somebody acts, as a hand that moves a slider.

    Steps of one block of runs, one after the other, find its weights in the processor's caches: the fewer looks, the
    faster.

    Attributes
    ----------
    has_news : callable
        Whether there is any.
    has_changes : callable
        Whether somebody waits for a change to act: the step under way is done anew with it.
    """

    def __init__(self) -> None:
        self.has_news: Callable[[], bool] = lambda: False
        self.has_changes: Callable[[], bool] = lambda: False
        self._alert_until = self._look_at = 0.0

    def note(self) -> None:
        """Take note that somebody acted."""
        self._alert_until = time.perf_counter() + _ALERT

    def is_there(self) -> bool:
        """Whether there is any."""
        if found := self.has_news():
            self.note()
        return found

    def is_urgent(self) -> bool:
        """Whether there is any that a step is to be broken off for; cheap enough to be asked between its operations."""
        if (now := time.perf_counter()) < self._look_at:
            return False
        self._look_at = now + _URGENT_SECONDS
        return self.has_changes()

    def most(self, seconds: float) -> int:
        """Return how many steps, which take so many seconds each, may be done between two looks."""
        return max(1, int((_SECONDS if time.perf_counter() < self._alert_until else _CALM_SECONDS) / seconds))
