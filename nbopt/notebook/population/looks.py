"""When to look anew at the values of all members: with thousands of them, that takes long."""

from __future__ import annotations

import time

from nbopt.run.session.crowd import Crowd

_AFTER = 1.0  # seconds after news: a change acts from the next step on
_BETWEEN = 2.0  # seconds: a guard or a schedule of the user's may change values without a word to the population

_CHANGES = ("set", "clone")  # what the journal calls them


class Looks:
    """Says when it is time.

    Parameters
    ----------
    population : Crowd
    """

    def __init__(self, population: Crowd) -> None:
        self._population = population
        self._read = 0
        self._news_until = self._looked_at = -_BETWEEN

    def is_due(self) -> bool:
        """Return whether to look now; each True counts as a look."""
        now, entries = time.monotonic(), self._population.journal[self._read :]
        self._read += len(entries)
        if any(entry.name in _CHANGES for entry in entries):
            self._news_until = now + _AFTER
        if entries or now < self._news_until or now - self._looked_at > _BETWEEN:
            self._looked_at = now
            return True
        return False
