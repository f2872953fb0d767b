"""Measuring a run's metrics batch by batch: sums where sums do, and as little kept of the outputs as each one needs."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from nbopt.i18n import _
from nbopt.techniques.losses.traits import IGNORED, UNKNOWN, Traits
from nbopt.techniques.metrics.choice import METRICS, NUMBERS, SUMS, Metric
from nbopt.techniques.metrics.reading import Reading
from nbopt.techniques.metrics.scorers import ScoreFunction, Scorer, Streaming, as_number

Tell = Callable[[str], None]


class Measuring:
    """The metrics of a run.

    Parameters
    ----------
    metrics : dict of str to callable

    Attributes
    ----------
    reading : Reading
        How their outputs are read.
    """

    def __init__(self, metrics: Mapping[str, Metric]) -> None:
        self._metrics = metrics
        self.begin_anew(UNKNOWN)

    def begin_anew(self, traits: Traits) -> None:
        """Read outputs for a loss of these traits from now on."""
        self.reading = Reading(traits)
        self._of_classes = False
        self._traits = traits

    def check(self, output: Any, target: Any, lose: Callable[[Any, Any], Tensor]) -> None:
        """Learn from the first batch how outputs are read.

        Raises
        ------
        ValueError
            If a metric cannot read them.
        """
        asks = any(map(_is_read, self._metrics.values()))  # else the loss is not called without need
        self.reading.learn(output, target, lose if asks else None)
        for name, metric in self._metrics.items():
            try:
                self._read(metric, output, target)
            except ValueError as error:
                raise ValueError(_("metric {name}: {error}", name=name, error=error)) from error

    def _read(self, metric: Metric, output: Any, target: Any) -> tuple[Any, Any]:
        """Return what a metric takes."""
        if not _is_read(metric):
            return output, target
        numbers: bool | None = metric in NUMBERS
        if isinstance(metric, (Scorer, ScoreFunction)):
            numbers = metric.of_numbers
            if numbers is None:
                numbers = isinstance(target, Tensor) and target.is_floating_point()
                numbers = numbers and self._traits.classes_first is None
        self._of_classes |= not numbers
        return self.reading.numbers(output, target) if numbers else self.reading.classes(output, target)

    @property
    def doubt(self) -> str:
        """Why metrics may take outputs for what they are not, in words; "" if they do not."""
        return self.reading.doubt if self._of_classes else ""

    def start(self, prefix: str) -> Measurement:
        """Begin to measure; names get ``prefix``."""
        return Measurement({prefix + name: self._meter(metric) for name, metric in self._metrics.items()})

    def _meter(self, metric: Metric) -> Meter:
        def read(output: Any, target: Any) -> tuple[Any, Any]:
            return self._read(metric, output, target)

        if isinstance(metric, Streaming):
            return Streamed(metric)
        return Summed(metric, read) if any(metric is known for known in SUMS) else Joined(metric, read)


def _is_read(metric: Metric) -> bool:
    """Whether a metric takes outputs and targets as `Reading` reads them, not as they are."""
    return isinstance(metric, (Scorer, ScoreFunction)) or any(metric is known for known in METRICS.values())


class Measurement:
    """The metrics of a stretch of batches."""

    def __init__(self, meters: Mapping[str, Meter]) -> None:
        self._meters = dict(meters)
        self._wrong: dict[str, str] = {}

    @torch.no_grad()
    def add(self, output: Any, target: Any) -> None:
        """Take in a batch; a metric that raises takes part no more."""
        for name, meter in self._meters.items():
            if name not in self._wrong:
                self._try(name, lambda meter=meter: meter.add(output, target))  # type: ignore[misc]

    @torch.no_grad()
    def values(self, tell: Tell) -> dict[str, float]:
        """Return each metric; NaN where it is not defined or raised, and ``tell`` why."""
        found: dict[str, float] = {}
        for name, meter in self._meters.items():
            value = math.nan if name in self._wrong else self._try(name, meter.value)
            found[name] = math.nan if value is None else value
            if name in self._wrong:
                tell(_("metric {name} is not a number: {reason}", name=name, reason=self._wrong[name]))
            elif math.isnan(found[name]):
                tell(_("metric {name} is not a number: it is not defined for these outputs and targets", name=name))
        return found

    def _try(self, name: str, do: Callable[[], Any]) -> Any:
        try:
            return do()
        except Exception as error:  # of the user's, or of scikit-learn's
            place = traceback.extract_tb(error.__traceback__)[-1]
            self._wrong[name] = f"{type(error).__name__}: {error} ({place.name}, {place.filename}:{place.lineno})"
            return None


class Meter:
    """What measures one metric."""

    def add(self, output: Any, target: Any) -> None:
        """Take in a batch."""
        raise NotImplementedError

    def value(self) -> float:
        """Return the metric of all batches."""
        raise NotImplementedError


class Summed(Meter):
    """A metric that is made of sums over batches: nothing else is kept of them."""

    def __init__(self, metric: Metric, read: Callable[[Any, Any], tuple[Any, Any]]) -> None:
        self._sum, self._finish = SUMS[metric]
        self._read = read
        self._sums: tuple[Tensor, ...] | None = None

    def add(self, output: Any, target: Any) -> None:
        """See `Meter`."""
        output, target = self._read(output, target)
        if not len(target):
            return
        sums = self._sum(output, target)
        self._sums = sums if self._sums is None else tuple(a + b for a, b in zip(self._sums, sums, strict=True))

    def value(self) -> float:
        """See `Meter`."""
        return math.nan if self._sums is None else float(self._finish(*self._sums))


class Streamed(Meter):
    """An object that takes in batches itself."""

    def __init__(self, metric: Streaming) -> None:
        self._metric = metric
        metric.metric.reset()

    def add(self, output: Any, target: Any) -> None:
        """See `Meter`."""
        self._metric.update(output, target)

    def value(self) -> float:
        """See `Meter`."""
        return self._metric.value()


class Joined(Meter):
    """A function of all outputs and targets, which are kept on the CPU.

    Where they cannot be joined, because they are no tensors or differ in shape from batch to batch, it is the mean over
    batches, each of which counts as much as it has labels that count.
    """

    def __init__(self, metric: Metric, read: Callable[[Any, Any], tuple[Any, Any]]) -> None:
        self._metric = metric
        self._read = read
        self._kept: list[tuple[Tensor, Tensor]] = []
        self._parts: list[tuple[float, float]] = []
        self._device = torch.device("cpu")

    def add(self, output: Any, target: Any) -> None:
        """See `Meter`."""
        output, target = self._read(output, target)
        if not isinstance(output, Tensor) or not isinstance(target, Tensor) or not output.ndim or not target.ndim:
            self._parts.append((as_number(self._metric(output, target)), _count(target)))
            return
        self._device = output.device
        self._kept.append((output.cpu(), target.cpu()))

    def value(self) -> float:
        """See `Meter`."""
        kept, self._kept = self._kept, []
        shapes = {(output.shape[1:], target.shape[1:]) for output, target in kept}
        if len(shapes) == 1 and not self._parts:
            output, target = (torch.cat(column).to(self._device) for column in zip(*kept, strict=True))
            return as_number(self._metric(output, target))
        for output, target in kept:
            if count := _count(target):
                value = self._metric(output.to(self._device), target.to(self._device))
                self._parts.append((as_number(value), count))
        total = sum(count for _value, count in self._parts)
        return sum(value * count for value, count in self._parts) / total if total else math.nan


def _count(target: Any) -> float:
    if not isinstance(target, Tensor):
        return 1.0
    if target.is_floating_point() or not target.ndim:
        return float(len(target) if target.ndim else 1)
    return float((target != IGNORED).sum())
