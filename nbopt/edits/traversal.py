"""In which order units stand along a dimension of a weight, and where more of them go."""

from __future__ import annotations

from itertools import groupby
from typing import Any


def to_pattern(indices: list[int]) -> list[list[int]]:
    """Return indices of units in stretches ``[first, step, length]`` of step 0 or 1.

    Examples
    --------
    >>> to_pattern([0, 1, 2, 3, 3, 3, -1])
    [[0, 1, 4], [3, 0, 2], [-1, 0, 1]]
    """
    made: list[list[int]] = []
    for index in indices:
        if made:
            first, step, length = made[-1]
            if length == 1 and index - first in (0, 1) and first >= 0:
                made[-1] = [first, index - first, 2]
                continue
            if (length > 1 and index == first + step * length) or (first < 0 and index == first):
                made[-1][2] += 1
                continue
        made.append([index, 0, 1])
    return made


def read_pattern(pattern: Any) -> list[int]:
    """Return what `to_pattern` was given."""
    return [first + step * place for first, step, length in pattern for place in range(length)]


def is_pattern(value: Any) -> bool:
    """Whether a value from a journal is a pattern."""
    return isinstance(value, list) and all(
        isinstance(part, list)
        and len(part) == 3
        and all(type(number) is int for number in part)
        and part[0] >= -1
        and part[1] in (0, 1)
        and 0 < part[2] <= 2**24
        for part in value
    )


def find_sources(indices: list[int], copied: list[int]) -> tuple[list[int], list[int]]:
    """Return where along a dimension the numbers come from once there are copies of units.

    The copies stand behind the last unit, in each round of the units again: after a reshape there may be many, or many
    places of one unit side by side.

    Parameters
    ----------
    indices : list of int
        The unit at each place; -1 for what is none of these.
    copied : list of int
        The unit that each new one is a copy of.

    Returns
    -------
    sources, units : list of int
        For each place afterwards, that before; and the number of its unit, the new ones counted on.
    """
    last = max(indices)
    runs: dict[int, list[list[int]]] = {}
    order: list[tuple[int, list[int]]] = []
    for index, group in groupby(range(len(indices)), key=indices.__getitem__):
        places = list(group)
        runs.setdefault(index, []).append(places)
        order.append((index, places))
    sources, units, round_ = list[int](), list[int](), 0
    for index, places in order:
        sources += places
        units += [index] * len(places)
        if index == last:
            for number, unit in enumerate(copied, last + 1):
                sources += runs[unit][round_]
                units += [number] * len(runs[unit][round_])
            round_ += 1
    return sources, units
