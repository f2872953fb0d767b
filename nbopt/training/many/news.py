"""How often those who step many runs look whether somebody waits for what is done between two steps."""

from __future__ import annotations

import time
from collections.abc import Callable

_SECONDS, _CALM_SECONDS = 0.015, 0.1  # between two looks: while somebody acts, and while nobody does
_ALERT = 1.0  # seconds after somebody acted


class News:
    """Looks whether there is news: often while somebody acts, as a hand that moves a slider.

    Steps of one block of runs, one after the other, find its weights in the processor's caches: the fewer looks, the
    faster.
    """

    def __init__(self) -> None:
        self._alert_until = self._due = 0.0
        self._has_news: Callable[[], bool] = lambda: False

    def listen(self, has_news: Callable[[], bool]) -> None:
        """Ask ``has_news`` from now on."""
        self._has_news = has_news
        self._due = time.thread_time() + self._seconds

    @property
    def _seconds(self) -> float:
        return _SECONDS if time.perf_counter() < self._alert_until else _CALM_SECONDS

    def note(self) -> None:
        """Take note that somebody acted."""
        self._alert_until = time.perf_counter() + _ALERT

    def is_there(self) -> bool:
        """Whether there is any, as far as it is time to look; of this thread alone: others are no reason to."""
        if (now := time.thread_time()) < self._due:
            return False
        self._due = now + self._seconds
        if found := self._has_news():
            self.note()
        return found

    def most(self, seconds: float) -> int:
        """Return how many steps, which take so many seconds each, may be done between two looks."""
        return max(1, int(self._seconds / seconds))
