"""The guard against divergence: it sees a loss go wrong; the engine goes back and cuts the learning rate."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

from nbopt.hyperparams import Flag, Tunable
from nbopt.words import _

_EXPLODED = 1000.0


class Guard(Tunable):
    """Tells whether losses are still sane: finite, and below a thousand times the size of the first ones."""

    recover = Flag(
        True,
        label=_("Recover from divergence"),
        group=_("Safety"),
        help=_("When the loss is no number or explodes: back to the last good snapshot, with a lower learning rate."),
    )

    def __init__(self) -> None:
        self._usual: float | None = None

    def find_trouble(self, losses: Sequence[float]) -> int | None:
        """Return the index of the first loss gone wrong, or None."""
        if not self.recover:
            return None
        if self._usual is None and math.isfinite(losses[0]):
            self._usual = max(abs(losses[0]), 1e-6)
        limit = min(_EXPLODED * (self._usual or math.inf), sys.float_info.max)
        return next((k for k, loss in enumerate(losses) if not -limit <= loss <= limit), None)  # NaN compares as False
