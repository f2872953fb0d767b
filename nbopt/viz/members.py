"""In what the members of a population differ, as plain data: values, and where they lie on an axis of their own."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from nbopt.formatting import brief, number
from nbopt.hyperparams import Float, Hyperparams
from nbopt.i18n import _
from nbopt.viz.ticks import linear_ticks, log_ticks

Array = NDArray[np.float64]

MEMBER, SEED = "member", "seed"
_TICKS = 6
_KINDS = 8  # of a choice, that have their names on the axis
_ZERO = 0.06  # of an axis, below the least value of a log scale: where 0 stands


class Differing(Protocol):
    """A member."""

    @property
    def number(self) -> int:
        """Its place in the population."""

    @property
    def seed(self) -> int:
        """What its random numbers are drawn from."""

    @property
    def hyperparams(self) -> Hyperparams:
        """Its values."""


class Trait(NamedTuple):
    """One thing in which members differ.

    Attributes
    ----------
    name, label : str
    values : ndarray, shape (members,)
        Numbers; of a choice, which of ``kinds`` it is.
    kinds : tuple of str
        The options chosen, in order; empty where the values are numbers.
    places : ndarray, shape (members,)
        From 0 to 1, along its axis.
    ticks : list of (float, str)
        Place and text of what the axis is labelled with.
    log : bool
        Whether that axis is logarithmic.
    """

    name: str
    label: str
    values: Array
    kinds: tuple[str, ...]
    places: Array
    ticks: list[tuple[float, str]]
    log: bool

    def text(self, member: int) -> str:
        """Return the value of a member in words."""
        value = float(self.values[member])
        if self.kinds:
            return self.kinds[int(value)]
        return number(value) if value == round(value) else brief(value)


def find_traits(members: Sequence[Differing]) -> list[Trait]:
    """Return in what members differ, those that were declared first at the beginning.

    Where all are alike, it is their numbers that tell them apart.
    """
    values = members[0].hyperparams
    found = []
    # Of a thousand members, a hundred thousand values: column by column and without Python in between.
    for name, column in zip(
        values, zip(*(member.hyperparams.values() for member in members), strict=True), strict=True
    ):
        if column.count(column[0]) < len(column):
            spec = values.spec(name)
            found.append(_trait(name, values.label(name), column, isinstance(spec, Float) and spec.log))
    seeds = [member.seed for member in members]
    if len(set(seeds)) > 1:
        found.append(_trait(SEED, _("Seed"), seeds, False))
    return found or [_trait(MEMBER, _("Member"), [member.number for member in members], False)]


def _trait(name: str, label: str, column: Sequence[Any], log: bool) -> Trait:
    if all(isinstance(value, (int, float)) and math.isfinite(value) for value in column):
        values = np.array(column, float)
        log = log and float(values.min()) >= 0
        places, ticks = _on_log_axis(values) if log else _on_linear_axis(values)
        return Trait(name, label, values, (), places, ticks, log)
    kinds = list(dict.fromkeys(sorted(map(number, column))))
    values = np.array([kinds.index(number(value)) for value in column], float)
    places = (values + 0.5) / len(kinds)
    ticks = [((k + 0.5) / len(kinds), text) for k, text in enumerate(kinds)] if len(kinds) <= _KINDS else []
    return Trait(name, label, values, tuple(kinds), places, ticks, False)


def _on_linear_axis(values: Array) -> tuple[Array, list[tuple[float, str]]]:
    low, high = float(values.min()), float(values.max())
    if high == low:
        return np.full(len(values), 0.5), [(0.5, number(low))]
    ticks = linear_ticks(low, high, _TICKS)
    return (values - low) / (high - low), [((tick - low) / (high - low), number(tick)) for tick in ticks]


def _on_log_axis(values: Array) -> tuple[Array, list[tuple[float, str]]]:
    above = values[values > 0]
    low, high = float(above.min()), float(above.max())
    start = _ZERO if len(above) < len(values) else 0.0
    if high == low:
        place: Callable[[Any], Any] = lambda value: np.full(np.shape(value), 0.5)  # noqa: E731
        ticks = [low]
    else:
        length = math.log(high / low)
        place = lambda value: start + (1 - start) * np.log(np.asarray(value) / low) / length  # noqa: E731
        ticks = log_ticks(low, high, _TICKS)
    places = np.zeros(len(values))
    places[values > 0] = place(above)
    zero = [(0.0, "0")] if start else []
    return places, zero + [(float(place(tick)), number(tick)) for tick in ticks]
