"""Which way the validation loss would fall: an arrow beside a control's name, from the last hypergradient."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

from nbopt.formatting import brief, count
from nbopt.hyperparams import Float
from nbopt.i18n import _
from nbopt.run.population.hypergradient import Slopes
from nbopt.run.population.of_run import AsksMany
from nbopt.techniques.context import Slope

_STEPS = 20  # that are looked ahead
_PART = 0.1  # of a range that is no logarithmic one, by which the loss's fall is told


class Arrows:
    """What is known of a run's slopes, as its controls show it; found out where somebody asks.

    Parameters
    ----------
    run : Steerable
        Without the ability to do its next steps on a copy, it has none.
    attempt : callable
        Does what it is given, and shows what that raises.

    Attributes
    ----------
    is_able : bool
    """

    def __init__(self, run: Any, attempt: Callable[[Callable[[], Any]], None]) -> None:
        self.is_able = isinstance(run, AsksMany)
        self._run = run
        self._attempt = attempt
        self._seen: Slopes | None = None
        self._known: dict[str, tuple[str, str]] = {}

    def hear(self, content: Any) -> bool:
        """Take what the page asks of a slope; return whether it is that."""
        match content:
            case {"which": str(name)} if self.is_able and name in self._run.hyperparams:
                find = lambda: self._run.hypergradient((name,), steps=_STEPS)  # noqa: E731
                threading.Thread(target=self._attempt, args=(find,), name="nbopt finds a slope", daemon=True).start()
                return True
        return False

    def find(self, name: str) -> tuple[str, str] | None:
        """Return an arrow, and it in words; both are "" before somebody asked for it, and None is where nobody can."""
        if not self.is_able or not isinstance(self._run.hyperparams.spec(name), Float):
            return None
        if (slopes := self._run.slopes) is not self._seen:
            self._seen = slopes
            self._known |= {own: _draw(slopes, slope) for own, slope in slopes.of.items()}
        return self._known.get(name, ("", ""))


def _draw(slopes: Slopes, slope: Slope) -> tuple[str, str]:
    spec = slope.spec
    if not slope.slope or not math.isfinite(slope.slope):
        glyph, says = "·", _("The validation loss does not depend on it")
    else:
        by_log = spec.log and slope.value > 0
        change = slope.slope * (slope.value * math.log(2) if by_log else _PART * (spec.high - spec.low))
        unit = _("for each doubling") if by_log else _("for a tenth of the range")
        if slope.slope < 0:
            glyph, says = "▸", _("The validation loss would fall to the right")
        else:
            glyph, says = "◂", _("The validation loss would fall to the left")
        says = _("{says}, by about {change} {unit}", says=says, change=brief(abs(change)), unit=unit)
    return glyph, _(
        "{says}: {steps} steps on from step {step}.", says=says, steps=slopes.steps, step=count(slopes.step)
    )
