"""The progress line of a blocking `Run.fit`."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbopt.engine.facts import Facts

_SECONDS = 0.2


class ProgressLine:
    """Writes one line to stderr, rewritten in place on a terminal, once per epoch elsewhere."""

    def __init__(self, run: Facts) -> None:
        self._run = run
        self._due = 0.0
        self._epoch = 0
        self._in_place = sys.stderr.isatty()

    def update(self) -> None:
        """Write the line if it is time to."""
        now = time.perf_counter()
        if now < self._due:
            return
        self._due = now + _SECONDS
        if self._in_place:
            sys.stderr.write("\r" + self._line() + "\033[K")
            sys.stderr.flush()
        elif self._run.epoch > self._epoch:
            self._epoch = self._run.epoch
            sys.stderr.write(self._line() + "\n")

    def close(self) -> None:
        """Write the last line."""
        sys.stderr.write(("\r" if self._in_place else "") + self._line() + f" {self._run.state.value}\n")
        sys.stderr.flush()

    def _line(self) -> str:
        run = self._run
        values = " ".join(f"{name}={run.history.last(name):.4g}" for name in run.history.names)
        return f"epoch {run.epoch}/{run.hyperparams['epochs']} step {run.step_count} {values}"
