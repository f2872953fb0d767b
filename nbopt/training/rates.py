"""The learning rate that a step uses: what becomes of the base rate."""

from __future__ import annotations

from nbopt.data.stream_source import StreamSource
from nbopt.i18n import _
from nbopt.training.core import Core

_AHEAD = 64


def set_rate(training: Core) -> None:
    """Give the optimizer the rate of the step that is under way, where it has one and something changes it."""
    if not training.acting.change_rate or not training.optimizer.rated:
        return
    rates = find_rates(training, 1)
    training.optimizer.set_rate(*rates)
    for change_groups in training.acting.change_groups:
        change_groups(training.torch_optimizer.param_groups)
    training.meter.take_rates(training.step, rates)


def find_rates(training: Core, count: int) -> list[float]:
    """Return the rates of so many steps, beginning with the one under way.

    More than one only where none but the last ends an epoch, and they follow from what is known before the first.
    """
    changes, base, first = training.acting.change_rate, training.optimizer.lr, training.step
    epochs = training.cursor.progress_ahead(count)
    rates: list[float] = []
    for epoch, done in zip(epochs, training.plan.shares(first, epochs), strict=True):
        rate, step = base, first + len(rates)
        for change in changes:
            rate = change(rate, step, epoch, done)
        rates.append(rate)
    return rates


class RatesAhead:
    """The rates of the steps to come, many at once: between two calls, the code that finds them has left the caches.

    They hold until a hyperparameter changes, which whoever has this says by `forget`, or an epoch or a validation ends.
    """

    def __init__(self, training: Core) -> None:
        self._training = training
        self._rates: list[float] = []
        self._first = 0

    def forget(self) -> None:
        """Find them anew."""
        self._rates = []

    def take(self, count: int) -> list[float]:
        """Return those of the next ``count`` steps, which are in one epoch and before the next validation."""
        training = self._training
        at = training.step - self._first
        if not 0 <= at <= len(self._rates) - count:
            ahead = min(_AHEAD, training.cursor.full_batches, training.plan.ahead(training.step))
            self._rates, self._first, at = find_rates(training, int(ahead)), training.step, 0
        rates = self._rates[at : at + count]
        training.meter.take_rates(training.step, rates)
        return rates


def tell_of_standstill(training: Core) -> None:
    """Say once if the rate is to move and, as nobody knows how long an epoch is, does so only between two epochs."""
    source, values = training.cursor.source, training.hyperparams
    if not isinstance(source, StreamSource) or source.length is not None:
        return
    unknown = ("epochs",) if values["steps"] else ("epochs", "length")
    names = [name for name, by in training.acting.moves.items() if by in unknown]
    if names:
        training.pass_.tell(
            _(
                "{names}: the stream has no length, so the learning rate stays constant within an epoch. Give the "
                "run's length as steps=..., and that of a warm-up as warmup_steps=...",
                names=", ".join(names),
            )
        )
