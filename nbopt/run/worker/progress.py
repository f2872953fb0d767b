"""The progress line of a blocking `Run.fit`."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from nbopt.formatting import brief

if TYPE_CHECKING:
    from nbopt.run.session.session import Session

_SECONDS = 0.2
_LINES = 20


class ProgressLine:
    """Writes one line to stderr, rewritten on a terminal; elsewhere one an epoch, or twenty where steps are counted."""

    def __init__(self, run: Session) -> None:
        self._run = run
        self._due = 0.0
        self._done = 0  # epochs, or twentieths of the run
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
        elif (done := int(_LINES * self._run.share) if self._run.plan.steps else self._run.epoch) > self._done:
            self._done = done
            sys.stderr.write(self._line() + "\n")

    def close(self) -> None:
        """Write the last line."""
        sys.stderr.write(("\r" if self._in_place else "") + self._line() + f" {self._run.state.value}\n")
        sys.stderr.flush()

    def _line(self) -> str:
        run = self._run
        last = {name: run.history.last(name) for name in run.history.names}
        values = " ".join(f"{name}={brief(value)}" for name, value in last.items() if value is not None)
        return f"epoch {run.epoch}{run.plan.of_epochs} step {run.step_count}{run.plan.of_steps} {values}"
