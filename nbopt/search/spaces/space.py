"""The space of a study: one dimension for each declaration."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice, product
from typing import Any

from nbopt.errors import InvalidHyperparam, unknown
from nbopt.i18n import _
from nbopt.search.spaces.dimension import Dimension, is_among

_CELLS = 100_000  # places of a grid at most


class Space(Mapping[str, Dimension]):
    """The dimensions that are searched, and the values that are pinned.

    Parameters
    ----------
    dimensions : iterable of Dimension
    pinned : mapping of str to object, optional

    Raises
    ------
    InvalidHyperparam
        For dimensions that depend on each other in a circle.

    Examples
    --------
    >>> from nbopt.search.spaces.dimension import Dimension
    >>> from nbopt.search.spaces.space import Space
    >>> rate = nbopt.Float(1e-3, low=1e-4, high=1.0, log=True)
    >>> rate.name = "lr"
    >>> Space([Dimension.of(rate)]).at([0.5])
    {'lr': 0.010000000000000004}
    """

    def __init__(self, dimensions: Iterable[Dimension], pinned: Mapping[str, Any] | None = None) -> None:
        self._dimensions = {dimension.name: dimension for dimension in dimensions}
        self.pinned = dict(pinned or {})
        self._in_order = _parents_first(self._dimensions)
        self._grids: dict[int, list[dict[str, Any]]] = {}

    def __getitem__(self, name: str) -> Dimension:
        if name not in self._dimensions:
            way = _(
                "the objective suggests all values by itself; declare them, as space={told}",
                told=f"{{{name!r}: (0, 1)}}",
            )
            elsewhere = {} if self._dimensions else {str(name).lower(): way}
            raise unknown(_("dimension of the space"), name, self._dimensions, {}, elsewhere)
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

    @property
    def in_order(self) -> list[Dimension]:
        """All dimensions, each after those that it depends on."""
        return [*self._in_order]

    def matters(self, name: str, values: Mapping[str, Any]) -> bool:
        """Whether a dimension matters beside these values, those of the dimensions that it depends on among them."""
        return all(
            parent not in self._dimensions or (parent in values and is_among(values[parent], allowed))
            for parent, allowed in self[name].when.items()
        )

    def reduced(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return those of the values that matter, in the order of the dimensions."""
        found: dict[str, Any] = {}
        for each in self._in_order:
            if each.name in values and self.matters(each.name, found):
                found[each.name] = values[each.name]
        return {name: found[name] for name in self if name in found}

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

    def place(self, values: Mapping[str, Any], idle: Sequence[float]) -> list[float]:
        """Return where values are in the unit cube of the dimensions that are open.

        Parameters
        ----------
        values : mapping of str to object
        idle : sequence of float
            For each of these dimensions, where to be if it does not matter, and has no value.
        """
        return [
            each.place(values[each.name]) if each.name in values else share
            for each, share in zip(self.open, idle, strict=True)
        ]

    def contains(self, values: Mapping[str, Any]) -> bool:
        """Whether a trial's values lie in the dimensions that are open."""
        needed = [each for each in self.open if self.matters(each.name, values)]
        return all(each.name in values and each.contains(values[each.name]) for each in needed)

    def grid(self, most: int) -> list[dict[str, Any]]:
        """Return every combination of evenly spaced values, in the order of scikit-learn's ``ParameterGrid``.

        Parameters
        ----------
        most : int
            About how many there may be; continuous ranges have the fewer values the more dimensions there are.
        """
        if most not in self._grids:
            self._grids[most] = self._find_grid(most)
        return self._grids[most]

    def _find_grid(self, most: int) -> list[dict[str, Any]]:
        ordered = sorted(self.open, key=lambda each: each.name)
        if any(each.when for each in self.values()):
            return self._find_grid_of_some([each for each in self._in_order if each in ordered], most)
        fixed = [each for each in ordered if each.options]
        while True:
            ranges = len(ordered) - len(fixed)
            cells = math.prod(each.count for each in fixed)
            each_has = max(2, int((most / cells) ** (1 / ranges) + 1e-9)) if ranges else 0
            few = [each for each in ordered if each not in fixed and 0 < each.count <= each_has]
            if not few:  # what has no more values than it may have leaves room for the others
                break
            fixed += few
        choices = {each.name: each.spaced(each.count if each in fixed else each_has) for each in ordered}
        return _take(dict(zip(choices, row, strict=True)) for row in product(*choices.values()))

    def _find_grid_of_some(self, ordered: Sequence[Dimension], most: int) -> list[dict[str, Any]]:
        """Return the grid where some dimensions do not always matter, with as many values as there is room for."""
        each_has, largest = 2, max((each.count or most for each in ordered if not each.options), default=0)
        found = self._combine(ordered, each_has)
        while each_has < largest and len(more := self._combine(ordered, each_has + 1)) <= most:
            found, each_has = more, each_has + 1
        return found

    def _combine(self, ordered: Sequence[Dimension], most: int) -> list[dict[str, Any]]:
        rows: Iterator[dict[str, Any]] = iter([{}])
        for each in ordered:
            rows = self._extend(rows, each.name, each.spaced(most))
        return _take(rows)

    def _extend(self, rows: Iterator[dict[str, Any]], name: str, values: list[Any]) -> Iterator[dict[str, Any]]:
        for row in rows:
            if self.matters(name, {**self.pinned, **row}):
                yield from ({**row, name: value} for value in values)
            else:
                yield row


def _take(rows: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    found = list(islice(rows, _CELLS + 1))
    if len(found) > _CELLS:
        told = _("a grid of this space has more than {count} places", count=_CELLS)
        raise InvalidHyperparam(_("{told}: give fewer values, or search with another sampler.", told=told))
    return found


def _parents_first(dimensions: Mapping[str, Dimension]) -> list[Dimension]:
    found: dict[str, Dimension] = {}
    while len(found) < len(dimensions):
        ready = {
            name: each
            for name, each in dimensions.items()
            if name not in found and all(parent in found or parent not in dimensions for parent in each.when)
        }
        if not ready:
            names = ", ".join(name for name in dimensions if name not in found)
            raise InvalidHyperparam(_("{names}: each matters only with values of another of them.", names=names))
        found |= ready
    return list(found.values())
