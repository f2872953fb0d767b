"""One dimension of a space, which is also walked from 0 to 1."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from nbopt.errors import InvalidHyperparam, shorten
from nbopt.formatting import number
from nbopt.hyperparams import Choice, Flag, Float, Hyperparam, Int
from nbopt.i18n import _


@dataclass(eq=False)
class Unbounded(Hyperparam[Any]):
    """A value of any kind, of which no range is declared."""

    def check(self, value: Any) -> Any:
        """Return ``value``."""
        return value

    @property
    def legal(self) -> str:
        """Anything."""
        return _("any value")


@dataclass(eq=False)
class OneOf(Hyperparam[Any]):
    """One of several values of any kind.

    Attributes
    ----------
    options : tuple
    """

    options: tuple[Any, ...] = field(default=(), kw_only=True)

    def check(self, value: Any) -> Any:
        """Return ``value`` if it is an option."""
        if not any(_is_same(value, option) for option in self.options):
            raise self._refuse(value, _("one of {options}", options=self.legal))
        return value

    @property
    def legal(self) -> str:
        """The options."""
        return ", ".join(map(str, self.options))


@dataclass(frozen=True)
class Dimension:
    """What a search may give one hyperparameter.

    Attributes
    ----------
    spec : Hyperparam
        The declaration: whether a value is legal.
    low, high : float
        The range searched; of ``powers``, in exponents of two.
    options : tuple
        The values searched, of a choice.
    log, whole, powers : bool
        How the range is walked.
    """

    spec: Hyperparam[Any]
    low: float = 0.0
    high: float = 1.0
    options: tuple[Any, ...] = ()
    log: bool = False
    whole: bool = False
    powers: bool = False

    @classmethod
    def of(cls, spec: Hyperparam[Any]) -> Dimension:
        """Return the dimension that a declaration offers.

        Raises
        ------
        InvalidHyperparam
            For a declaration without a range.
        """
        if isinstance(spec, Flag):
            return cls(spec, options=(False, True))
        if isinstance(spec, (Choice, OneOf)):
            return cls(spec, options=tuple(spec.options))
        if isinstance(spec, Int) and spec.powers:
            return cls(spec, math.ceil(math.log2(spec.low)), math.floor(math.log2(spec.high)), whole=True, powers=True)
        if isinstance(spec, Int):
            return cls(spec, spec.low, spec.high, whole=True)
        if isinstance(spec, Float):
            if spec.log and spec.low <= 0:
                rule = _("a logarithmic scale begins above 0")
                raise InvalidHyperparam(_("{name}: {rule}; got low={low:g}.", name=spec.name, rule=rule, low=spec.low))
            return cls(spec, spec.low, spec.high, log=spec.log)
        way = f"space={{{spec.name!r}: (0.1, 10.0)}}"
        raise InvalidHyperparam(_("{name} has no range to search: say what to try, as {way}.", name=spec.name, way=way))

    @classmethod
    def within(cls, spec: Hyperparam[Any], bounds: Any) -> Dimension:
        """Return the dimension of a declaration within bounds: a pair (low, high) of numbers, or a list of values.

        Raises
        ------
        InvalidHyperparam
            For what is neither, or not legal.
        """
        bounds = bounds.tolist() if isinstance(bounds, np.ndarray) else bounds
        pair = isinstance(bounds, tuple) and len(bounds) == 2 and all(_is_number(value) for value in bounds)
        if isinstance(spec, (Choice, Flag)) or (pair and not isinstance(spec, Unbounded)):
            return cls.of(spec).narrowed(bounds)
        made: Hyperparam[Any]
        if pair:
            low, high = bounds
            if all(isinstance(value, numbers.Integral) for value in bounds):
                made = Int(int(low), low=int(low), high=int(high), when=spec.when)
            else:
                log = low > 0 and high >= 10 * low  # as `nbopt.spread` has it
                made = Float(float(low), low=float(low), high=float(high), log=log, when=spec.when)
        elif _is_series(bounds) and bounds:
            made = OneOf(bounds[0], options=tuple(spec.check(value) for value in bounds), when=spec.when)
        else:
            rule = _("a pair (low, high) of numbers or a list of values")
            told = _("the range of {name} must be {rule}", name=spec.name, rule=rule)
            raise InvalidHyperparam(_("{told}; got {value}.", told=told, value=shorten(bounds)))
        made.name = spec.name
        return cls.of(made).narrowed(bounds)

    @property
    def name(self) -> str:
        """The hyperparameter's name."""
        return self.spec.name

    @property
    def when(self) -> dict[str, tuple[Any, ...]]:
        """The values of other dimensions with which it matters, by name; empty where it always does."""
        each = {name: allowed if _is_several(allowed) else [allowed] for name, allowed in self.spec.when.items()}
        return {name: tuple(allowed) for name, allowed in each.items()}

    @property
    def ends(self) -> list[Any]:
        """The bounds, as `narrowed` takes them: low and high, or the options."""
        if self.options:
            return list(self.options)
        return [self._as_value(self.low), self._as_value(self.high)] if self.whole else [self.low, self.high]

    def narrowed(self, to: Any) -> Dimension:
        """Return the same within other bounds: a pair (low, high) of numbers, or a list of options.

        Raises
        ------
        InvalidHyperparam
            For what is no such thing, or not legal.
        """
        if self.options:
            if not _is_series(to) or not to:
                raise self._refuse(to, _("a list of some of {options}", options=", ".join(map(str, self.options))))
            chosen = [self.spec.check(value) for value in to]
            return replace(self, options=tuple(v for k, v in enumerate(chosen) if not is_among(v, chosen[:k])))
        if not _is_series(to) or len(to) != 2:
            raise self._refuse(to, _("a pair (low, high)"))
        low, high = (self.spec.check(value) for value in to)
        if low > high or (self.log and low <= 0):
            rule = _("a pair (low, high) of which the first is the lower one")
            raise self._refuse(to, rule + (_(" and above 0, as the scale is logarithmic") if self.log else ""))
        if self.powers:
            ends = [math.log2(max(end, 1)) for end in (low, high)]
            if 2 ** ends[0] != low or not all(end.is_integer() for end in ends):  # others would be left out silently
                pair = 2 ** math.floor(ends[0]), 2 ** math.ceil(ends[1])
                every = f"nbopt.Int({low}, low={low}, high={high})"
                raise self._refuse(to, _("a pair of powers of 2, as {pair}, or {every}", pair=pair, every=every))
            return replace(self, low=int(ends[0]), high=int(ends[1]))
        return replace(self, low=low, high=high)

    def _refuse(self, value: object, rule: str) -> InvalidHyperparam:
        return InvalidHyperparam(
            _("the range of {name} must be {rule}; got {value}.", name=self.name, rule=rule, value=shorten(value))
        )

    # -- walked from 0 to 1

    @property
    def count(self) -> int:
        """How many values there are; 0 for a continuous range."""
        if self.options:
            return len(self.options)
        return int(self.high - self.low) + 1 if self.whole else 0

    def at(self, share: float) -> Any:
        """Return the value at a place from 0 to 1."""
        share = min(1.0, max(0.0, share))
        if self.count:
            place = min(self.count - 1, int(share * self.count))
            return self.options[place] if self.options else self._as_value(self.low + place)
        if self.log:
            value = math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))
        else:
            value = self.low + share * (self.high - self.low)
        return self.low if share == 0 else self.high if share == 1 else min(max(value, self.low), self.high)

    def place(self, value: Any) -> float:
        """Return where a value is, from 0 to 1; of one of several, the middle of its part."""
        if self.options:
            return (self.position(value) + 0.5) / len(self.options)
        walked = math.log2(value) if self.powers else value
        if self.whole:
            return float((walked - self.low + 0.5) / self.count)
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        walked = math.log(value) if self.log else value
        return float((walked - low) / (high - low)) if high > low else 0.5

    def position(self, value: Any) -> int:
        """Return which of the options a value is."""
        return next(k for k, option in enumerate(self.options) if _is_same(value, option))

    def contains(self, value: Any) -> bool:
        """Whether a value can be found here."""
        if self.options:
            return is_among(value, self.options)
        if self.powers:
            return value > 0 and math.log2(value).is_integer() and self.low <= math.log2(value) <= self.high
        return bool(self.low <= value <= self.high)

    def spaced(self, most: int) -> list[Any]:
        """Return values evenly spaced, at most ``most`` of a range; all options."""
        if self.options:
            return list(self.options)
        count = min(self.count, most) if self.whole else most
        if self.whole:
            steps = [round(self.low + k * (self.high - self.low) / max(1, count - 1)) for k in range(count)]
            return [self._as_value(step) for step in dict.fromkeys(steps)]
        return [self.at(k / (count - 1)) for k in range(count)] if count > 1 else [self.at(0.5)]

    def _as_value(self, walked: float) -> int:
        return int(2**walked) if self.powers else int(walked)

    @property
    def words(self) -> str:
        """The range, in words."""
        if self.options:
            return ", ".join(map(str, self.options))
        ends = (self._as_value(self.low), self._as_value(self.high)) if self.whole else (self.low, self.high)
        way = _(", on a log scale") if self.log else _(", in powers of 2") if self.powers else ""
        return _("{first} to {last}", first=number(ends[0]), last=number(ends[1])) + way


def _is_series(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _is_several(value: object) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, (str, bytes))


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _is_same(one: object, other: object) -> bool:
    """Whether two options are the same; True is not 1, and what has no truth value is only itself."""
    try:
        return one is other or (type(one) is type(other) and bool(one == other)) or _are_equal_numbers(one, other)
    except (ValueError, TypeError):
        return False


def _are_equal_numbers(one: object, other: object) -> bool:
    return _is_number(one) and _is_number(other) and one == other


def is_among(value: object, options: Iterable[object]) -> bool:
    """Whether a value is one of these options."""
    return any(_is_same(value, option) for option in options)
