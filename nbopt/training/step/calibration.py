"""Looks at the next training batch, for techniques that have to know it before passes at rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


class Calibration:
    """Has techniques look, one look at a time: what they look by is a pass too.

    Attributes
    ----------
    peek : callable
        Returns the next training batch.
    """

    def __init__(self) -> None:
        self.peek: Callable[[], Any] = lambda: None
        self._looking = False

    def do(self, hooks: Sequence[Callable[[Callable[[], Any]], None]], look: Callable[[], Any]) -> None:
        """Call ``hooks`` with ``look``, unless it is they who look."""
        if self._looking:
            return
        self._looking = True
        try:
            for calibrate in hooks:
                calibrate(look)
        finally:
            self._looking = False
