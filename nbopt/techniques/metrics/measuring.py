"""Measuring a run's metrics batch by batch: sums where sums do, and as little kept of the outputs as each one needs."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from nbopt.data.places import Place, check_place, item_at, name_of
from nbopt.i18n import _
from nbopt.techniques.losses.probes import Lose
from nbopt.techniques.losses.traits import IGNORED, UNKNOWN, Traits
from nbopt.techniques.metrics.by_output import OfOutput
from nbopt.techniques.metrics.choice import NUMBERS, SUMS, Metric, is_known
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
    places : list of tuple
        The outputs that have metrics, where there are several.
    """

    def __init__(self, metrics: Mapping[str, Metric]) -> None:
        self._metrics = metrics
        self.places = list(dict.fromkeys(metric.place for metric in metrics.values() if isinstance(metric, OfOutput)))
        self.begin_anew(UNKNOWN)

    def begin_anew(self, traits: Traits, of_outputs: Mapping[Place, Traits] = MappingProxyType({})) -> None:
        """Read outputs for a loss of these traits from now on; of several outputs, each for that of its loss."""
        self._traits = {(): traits, **{place: of_outputs.get(place, UNKNOWN) for place in self.places}}
        self._readings = {place: Reading(known) for place, known in self._traits.items()}
        self._of_classes: set[Place] = set()

    def check(
        self, output: Any, target: Any, lose: Lose, of_outputs: Mapping[Place, Lose] = MappingProxyType({})
    ) -> None:
        """Learn from the first batch how outputs are read, by their loss where shapes do not tell.

        Raises
        ------
        ValueError
            If a metric cannot read them, or takes an output that is not there.
        """
        way = _("metrics are given by the names of outputs and targets, as losses are")
        for place, reading in self._readings.items():
            own = check_place(output, place, _("output of the model"), way)
            truth = check_place(target, place, _("target"), way)
            own_loss = of_outputs.get(place) if place else lose
            reading.learn(own, truth, own_loss if self._asks(place) else None)
        for name, metric in self._metrics.items():
            try:
                self._read(metric, output, target)
            except ValueError as error:
                raise ValueError(_("metric {name}: {error}", name=name, error=error)) from error

    def read_as(self, other: Measuring) -> None:
        """Read outputs as another one does, which learned it from the same metrics of outputs like these."""
        self._readings, self._of_classes = other._readings, other._of_classes

    def _asks(self, place: Place) -> bool:
        """Whether a metric has to know what an output is: else the loss is not called without need."""
        metrics = map(_split, self._metrics.values())
        return any(is_known(metric) for of_place, metric in metrics if of_place == place)

    def _read(self, metric: Metric, output: Any, target: Any) -> tuple[Any, Any]:
        """Return what a metric takes."""
        place, metric = _split(metric)
        if place:
            output, target = item_at(output, place), item_at(target, place)
        if not is_known(metric):
            return output, target
        numbers: bool | None = metric in NUMBERS
        if isinstance(metric, (Scorer, ScoreFunction)):
            numbers = metric.of_numbers
            if numbers is None:
                numbers = isinstance(target, Tensor) and target.is_floating_point()
                numbers = numbers and self._traits[place].classes_first is None
        reading = self._readings[place]
        if numbers:
            return reading.numbers(output, target)
        self._of_classes.add(place)
        return reading.classes(output, target)

    @property
    def doubt(self) -> str:
        """Why metrics may take outputs for what they are not, in words; "" if they do not."""
        found = {place: self._readings[place].doubt for place in self._readings if place in self._of_classes}
        return next((f"{name_of(place)}: {doubt}" if place else doubt for place, doubt in found.items() if doubt), "")

    @property
    def unusual(self) -> str:
        """How outputs that metrics read differ from plain scores, in words; "" if they do not."""
        return next(filter(None, (reading.unusual for reading in self._readings.values())), "")

    def start(self, prefix: str) -> Measurement:
        """Begin to measure; names get ``prefix``."""
        return Measurement({prefix + name: self._meter(metric) for name, metric in self._metrics.items()})

    def _meter(self, metric: Metric) -> Meter:
        def read(output: Any, target: Any) -> tuple[Any, Any]:
            return self._read(metric, output, target)

        _place, inner = _split(metric)
        if isinstance(inner, Streaming):
            return Streamed(inner, read)
        return Summed(inner, read) if any(inner is known for known in SUMS) else Joined(inner, read)


def _split(metric: Metric) -> tuple[Place, Metric]:
    """Return the output that a metric takes, and what it makes of it."""
    return (metric.place, metric.metric) if isinstance(metric, OfOutput) else ((), metric)


class Measurement:
    """The metrics of a stretch of batches."""

    def __init__(self, meters: Mapping[str, Meter]) -> None:
        self._meters = dict(meters)
        self._wrong: dict[str, str] = {}

    def add(self, output: Any, target: Any) -> None:
        """Take in a batch; a metric that raises takes part no more."""
        for name, meter in self._meters.items():
            if name not in self._wrong:
                self._try(name, lambda meter=meter: meter.add(output, target))  # type: ignore[misc]

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
            with torch.no_grad():
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

    def __init__(self, metric: Streaming, read: Callable[[Any, Any], tuple[Any, Any]]) -> None:
        self._metric = metric
        self._read = read
        metric.metric.reset()

    def add(self, output: Any, target: Any) -> None:
        """See `Meter`."""
        self._metric.update(*self._read(output, target))

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
