"""The learning-rate finder: a sweep on a copy of the run."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbopt.formatting import brief, number
from nbopt.hyperparams import Float, Int
from nbopt.i18n import _
from nbopt.run import past
from nbopt.run.making import working
from nbopt.run.session.session import Session
from nbopt.run.trained import TrainedSession
from nbopt.techniques.catalogue import known_of
from nbopt.training.state import Stepped

_SMOOTHING = 0.9
_SETTLED = 10  # losses until the smoothed one follows none of them alone
_AROUND = 5  # rates to both sides, over which a slope is measured
_NOISE = 4.0  # times by which a fall must exceed how far the smoothed loss strays by itself
_TOO_FAR = 4.0  # times the lowest smoothed loss: the sweep ends there
_PLAIN: dict[str, Any] = {
    **{"schedule": "constant", "steps": 0, "validate_every": 0, "tier": "eager"},
}


class Sweep(NamedTuple):
    """What `Run.find_lr` found.

    Attributes
    ----------
    rates : ndarray
        The learning rates tried, (n,), rising.
    losses : ndarray
        The training loss of each step, (n,), as measured.
    smoothed : ndarray
        The same, smoothed exponentially, (n,).
    suggestion : float or None
        Where the smoothed loss falls most steeply over log lr; None if it never fell by more than it strays.
    run : Session
        The run they were tried for: in a notebook, a click on the chart sets its rate.
    """

    rates: NDArray[np.float64]
    losses: NDArray[np.float64]
    smoothed: NDArray[np.float64]
    suggestion: float | None
    run: Session

    def __repr__(self) -> str:
        found = _("nothing to suggest") if self.suggestion is None else _("suggested: {lr}", lr=brief(self.suggestion))
        return f"<Sweep of {len(self.rates)} learning rates for {self.run.name!r}; {found}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        viewer = type(self.run).viewer
        return {"text/plain": repr(self)} if viewer is None or not len(self.rates) else viewer.sweep(self)


def find_lr(run: TrainedSession, low: float, high: float, steps: int) -> Sweep:
    """See `Run.find_lr`."""
    if "lr" not in run.hyperparams.active:
        raise ValueError(_("the optimizer at work finds its own learning rate: there is none to try."))
    low, high = _rate("low", low), _rate("high", high)
    if low >= high:
        raise ValueError(_("low must be below high; got {low} and {high}.", low=number(low), high=number(high)))
    count = Int(100, low=1, high=1, ge=10)
    count.name = "steps"
    steps = count.check(steps)
    twin = past.copy_of(run, _("learning rates"))
    plain = {**_PLAIN}
    for item in known_of(run.techniques):
        plain.update(item.off)
    plain = {name: value for name, value in plain.items() if name not in twin.inert}
    twin.set(source="finder", **plain, epochs=10**9)
    events = twin.events()
    rates: list[float] = []
    losses: list[float] = []
    smoothed: list[float] = []
    mean = 0.0
    with working(run, _("Trying learning rates")) as work:
        for rate in np.geomspace(low, high, steps):
            work.note(len(rates), steps)
            if work.is_stopped:
                break
            twin.set(source="finder", lr=float(rate))
            next(event for event in events if type(event) is Stepped)
            training = twin.training
            training.meter.due = math.inf  # only here
            training.flush()
            loss = twin.history.last("loss")
            if loss is None or not math.isfinite(loss):
                break
            mean = _SMOOTHING * mean + (1 - _SMOOTHING) * loss
            rates.append(float(rate))
            losses.append(loss)
            smoothed.append(mean / (1 - _SMOOTHING ** len(rates)))
            if len(rates) > 10 and smoothed[-1] > _TOO_FAR * min(smoothed):
                break
    twin.stop()
    suggestion = suggest(np.array(rates), np.array(smoothed), np.array(losses))
    return Sweep(np.array(rates), np.array(losses), np.array(smoothed), suggestion, run)


def suggest(
    rates: NDArray[np.float64], smoothed: NDArray[np.float64], losses: NDArray[np.float64] | None = None
) -> float | None:
    """Return the rate at which a loss falls most steeply over log lr, before it is lowest; None if it never falls.

    With the ``losses`` as measured, a fall that may be their noise is none.
    """
    lowest = int(smoothed.argmin()) if len(smoothed) else 0
    first = min(_SETTLED, len(smoothed) // 4)
    if lowest < first + 2:
        return None
    if losses is not None:
        strays = math.sqrt((1 - _SMOOTHING) / (1 + _SMOOTHING)) * np.std((losses - smoothed)[: lowest + 1])
        if smoothed[first] - smoothed[lowest] <= _NOISE * strays:
            return None
    x = np.log(rates)

    def slope(k: int) -> float:
        part = slice(max(first, k - _AROUND), min(lowest, k + _AROUND) + 1)
        return float(np.polyfit(x[part], smoothed[part], 1)[0])

    return float(rates[min(range(first, lowest + 1), key=slope)])


def _rate(name: str, value: float) -> float:
    rate = Float(1.0, low=0.0, high=1.0, gt=0.0)
    rate.name = name
    return rate.check(value)
