"""The space of a study: one dimension for each declaration."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import Any

from nbopt.errors import unknown
from nbopt.i18n import _
from nbopt.search.dimension import Dimension


class Space(Mapping[str, Dimension]):
    """The dimensions that are searched, and the values that are pinned.

    Parameters
    ----------
    dimensions : iterable of Dimension
    pinned : mapping of str to object, optional

    Examples
    --------
    >>> from nbopt.search.dimension import Dimension
    >>> from nbopt.search.space import Space
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
        fixed = [each for each in ordered if each.options]
        while True:
            ranges = len(ordered) - len(fixed)
            cells = math.prod(each.count for each in fixed)
            each_has = max(2, int((most / cells) ** (1 / ranges) + 1e-9)) if ranges else 0
            few = [each for each in ordered if each not in fixed and 0 < each.count <= each_has]
            if not few:  # what has no more values than it may have leaves room for the others
                break
            fixed += few
        rows = product(*(each.spaced(each.count if each in fixed else each_has) for each in ordered))
        return [dict(zip((each.name for each in ordered), row, strict=True)) for row in rows]
