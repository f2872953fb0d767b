"""The space of a study: one dimension for each declaration, each also walked from 0 to 1."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from nbopt.errors import InvalidHyperparam, shorten, unknown
from nbopt.formatting import number
from nbopt.hyperparams import Choice, Flag, Float, Hyperparam, Int
from nbopt.i18n import _


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
        if isinstance(spec, Choice):
            return cls(spec, options=tuple(spec.options))
        if isinstance(spec, Int) and spec.powers:
            return cls(spec, math.ceil(math.log2(spec.low)), math.floor(math.log2(spec.high)), whole=True, powers=True)
        if isinstance(spec, Int):
            return cls(spec, spec.low, spec.high, whole=True)
        if isinstance(spec, Float):
            return cls(spec, spec.low, spec.high, log=spec.log)
        raise InvalidHyperparam(_("{name} has no range to search.", name=spec.name))

    @property
    def name(self) -> str:
        """The hyperparameter's name."""
        return self.spec.name

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
            return replace(self, options=tuple(value for value in dict.fromkeys(chosen)))
        if not _is_series(to) or len(to) != 2:
            raise self._refuse(to, _("a pair (low, high)"))
        low, high = (self.spec.check(value) for value in to)
        if low > high or (self.log and low <= 0):
            rule = _("a pair (low, high) of which the first is the lower one")
            raise self._refuse(to, rule + (_(" and above 0, as the scale is logarithmic") if self.log else ""))
        if self.powers:
            ends = math.ceil(math.log2(max(low, 1))), math.floor(math.log2(max(high, 1)))
            if ends[0] > ends[1]:
                raise self._refuse(to, _("a pair (low, high) with a power of 2 between"))
            return replace(self, low=ends[0], high=ends[1])
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
            return (self.options.index(value) + 0.5) / len(self.options)
        walked = math.log2(value) if self.powers else value
        if self.whole:
            return float((walked - self.low + 0.5) / self.count)
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        walked = math.log(value) if self.log else value
        return float((walked - low) / (high - low)) if high > low else 0.5

    def contains(self, value: Any) -> bool:
        """Whether a value can be found here."""
        if self.options:
            return value in self.options
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


class Space(Mapping[str, Dimension]):
    """The dimensions that are searched, and the values that are pinned.

    Parameters
    ----------
    dimensions : iterable of Dimension
    pinned : mapping of str to object, optional

    Examples
    --------
    >>> from nbopt.search.space import Dimension, Space
    >>> rate = nbopt.Float(1e-3, low=1e-4, high=1.0, log=True)
    >>> rate.name = "lr"
    >>> Space([Dimension.of(rate)]).at([0.5])
    {'lr': 0.010000000000000004}
    """

    def __init__(self, dimensions: Iterable[Dimension], pinned: Mapping[str, Any] | None = None) -> None:
        self._dimensions = {dimension.name: dimension for dimension in dimensions}
        self.pinned = dict(pinned or {})

    def __getitem__(self, name: str) -> Dimension:
        if name not in self._dimensions:
            raise unknown(_("dimension of the space"), name, self._dimensions)
        return self._dimensions[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._dimensions)

    def __len__(self) -> int:
        return len(self._dimensions)

    def __repr__(self) -> str:
        told = [f"{name}: {self.pinned.get(name, each.words)}" for name, each in self.items()]
        return f"Space({'; '.join(told)})"

    @property
    def open(self) -> list[Dimension]:
        """The dimensions that are not pinned."""
        return [each for name, each in self.items() if name not in self.pinned]

    def narrowed(self, **to: Any) -> Space:
        """Return the same space with other bounds, see `Dimension.narrowed`; what was pinned is searched again."""
        changed = {name: self[name].narrowed(bounds) for name, bounds in to.items()}
        pinned = {name: value for name, value in self.pinned.items() if name not in to}
        return Space({**self._dimensions, **changed}.values(), pinned)

    def with_pinned(self, **values: Any) -> Space:
        """Return the same space with values that all trials are to have from now on."""
        return Space(self.values(), {**self.pinned, **self.check(values)})

    def check(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return values in canonical form; raise InvalidHyperparam for an unknown name or one that is not legal."""
        return {name: self[name].spec.check(value) for name, value in values.items()}

    def at(self, shares: Iterable[float]) -> dict[str, Any]:
        """Return the values at a place of the unit cube of the dimensions that are open."""
        return {each.name: each.at(share) for each, share in zip(self.open, shares, strict=True)}

    def place(self, values: Mapping[str, Any]) -> list[float]:
        """Return where values are in the unit cube of the dimensions that are open."""
        return [each.place(values[each.name]) for each in self.open]

    def contains(self, values: Mapping[str, Any]) -> bool:
        """Whether a trial's values lie in the dimensions that are open."""
        return all(each.name in values and each.contains(values[each.name]) for each in self.open)

    def grid(self, most: int) -> list[dict[str, Any]]:
        """Return every combination of evenly spaced values, in the order of scikit-learn's ``ParameterGrid``.

        Parameters
        ----------
        most : int
            About how many there may be; continuous ranges have the fewer values the more dimensions there are.
        """
        ordered = sorted(self.open, key=lambda each: each.name)
        fixed = math.prod(len(each.options) for each in ordered if each.options)
        ranges = sum(not each.options for each in ordered)
        each_has = max(2, int((most / fixed) ** (1 / ranges) + 1e-9)) if ranges else 0
        rows = product(*(each.spaced(each_has) for each in ordered))
        return [dict(zip((each.name for each in ordered), row, strict=True)) for row in rows]


def _is_series(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))
