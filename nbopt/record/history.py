"""The history: every measurement of a run, as append-only columns."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbopt.errors import unknown
from nbopt.i18n import _
from nbopt.record.column import Column, Numbers, Steps, as_array, pick
from nbopt.record.pyramid import Pyramid

MOST = 2**22
"""Values of a series that are kept, some tens of megabytes; of the older ones, every eight give way to two."""

_FEW = 2**14  # values of a series that are kept in any case
_BLOCK = 8
_EACH_STEP = frozenset(("loss", "lr", "_time"))

Series = tuple[NDArray[np.int64], NDArray[np.float64]]


class Track(NamedTuple):
    """One quantity: where it was measured, the values, and their summaries."""

    steps: Steps
    values: Column
    pyramid: Pyramid

    def read(self) -> tuple[Numbers, NDArray[np.float64]]:
        """Return steps and values as they are now, while another thread may append; of any length at no cost."""
        length = len(self.values)  # appended after their steps: this many of both are there
        return self.steps.view(length), self.values.view(length)


class History(Mapping[str, Series]):
    """Measurements by name: ``history["val_loss"]`` is ``(steps, values)``.

    ``loss`` has one value per step, at the number of that step, counted from 0. What is measured at a validation
    stands at the number of steps completed by then. Of a series of more than `MOST` values, older ones are thinned.

    Attributes
    ----------
    expected : frozenset of str
        Names that will be measured: before their first value, ``history[name]`` is a pair of empty arrays.
    in_steps : frozenset of str
        Names of what is measured in a step, and stands at its number.
    is_thinned : bool
        Whether values have been left out.
    check : callable or None
        Called with the name, the steps and the values of all that was just appended.
    most : int
        Values of a series that are kept.
    given_up : History or None
        All that was measured until the run went back the last time.

    Examples
    --------
    >>> steps, values = run.fit().history["loss"]
    >>> steps[:3].tolist(), len(values)
    ([0, 1, 2], 10)
    >>> run.history
    History(loss: 10)
    """

    def __init__(self) -> None:
        self.check: Callable[[str, Sequence[int] | NDArray[np.int64], Any], None] | None = None
        self.expected: frozenset[str] = frozenset()
        self.in_steps = _EACH_STEP
        self.is_thinned = False
        self.most = MOST
        self.given_up: History | None = None
        self._tracks: dict[str, Track] = {}

    def extend(
        self, name: str, steps: Sequence[int] | NDArray[np.int64], values: Sequence[float] | NDArray[Any]
    ) -> None:
        """Append measurements of ``name`` at ``steps``."""
        track = self._tracks.get(name) or Track(Steps(), Column(np.float64), Pyramid())
        full = len(track.values) + len(values) > self.most and len(track.values) >= 2 * _BLOCK
        if full:
            track = _thin(track)
        track.steps.extend(steps)
        track.values.extend(values)
        if full:  # another mapping: what was measured is not what it was
            self.is_thinned = True
            self._tracks = {**self._tracks, name: track}
        else:
            self._tracks[name] = track  # last: a new name is seen with its values
        if self.check is not None:
            self.check(name, steps, values)

    def live_among(self, count: int) -> None:
        """Keep as much less as there are others beside it: all together, what one alone would, within bounds."""
        self.most = max(MOST // count, min(MOST, _FEW))

    def append(self, name: str, step: int, value: float) -> None:
        """Append one measurement."""
        self.extend(name, [step], [value])

    @property
    def names(self) -> list[str]:
        """The names measured so far, without the run's own clock."""
        # A copy first: the thread that trains may add a name meanwhile.
        return [name for name in list(self._tracks) if not name.startswith("_")]

    @property
    def tracks(self) -> Mapping[str, Track]:
        """All that is measured, the run's own clock too; another mapping once the run went back. Not to be changed."""
        return self._tracks

    def last(self, name: str) -> float | None:
        """Return the newest value of ``name``; None before the first.

        Examples
        --------
        >>> run.history.last("loss") is None
        True
        >>> run.fit().history.last("loss") > 0
        True
        """
        track = self._tracks.get(name)
        length = 0 if track is None else len(track.values)
        return float(track.values.view(length)[-1]) if track and length else None

    @property
    def measured(self) -> int:
        """How many steps' losses are known."""
        track = self._tracks.get("loss")
        steps = None if track is None else track.read()[0]
        return int(steps[-1]) + 1 if steps is not None and len(steps) else 0

    def copy_to(self, step: int, validated: bool) -> History:
        """Return what was measured by the time ``step`` steps were done.

        Parameters
        ----------
        validated : bool
            Whether a validation after ``step`` steps belongs to it.
        """
        return self._until(step, validated, self.in_steps)

    def _until(self, step: int, validated: bool, in_steps: Set[str]) -> History:
        part = History()
        for name, track in list(self._tracks.items()):
            at, values = track.read()
            # What is measured in a step stands at its number, one less than the steps then done.
            end = (bisect_right if validated and name not in in_steps else bisect_left)(at, step)
            if end:
                part.extend(name, at[:end], values[:end])
        return part

    def take_over(self, other: History, step: int, validated: bool) -> None:
        """Begin with what another run had measured, which need not know what is measured in steps; see `copy_to`."""
        self._tracks = other._until(step, validated, self.in_steps)._tracks

    def go_back(self, step: int, validated: bool) -> None:
        """Forget what was measured later; see `copy_to`."""
        self._tracks = self.copy_to(step, validated)._tracks

    def give_up(self, step: int, validated: bool) -> None:
        """Forget what was measured later, as `go_back` does, but keep all of it in `given_up`, to be looked at."""
        past = History()
        past._tracks = self._tracks
        self.go_back(step, validated)
        self.given_up = past

    def to_pandas(self) -> Any:
        """Return a ``pandas.DataFrame`` with one row per step and one column per name, gaps as NaN.

        Examples
        --------
        >>> run.fit().history.to_pandas().columns.tolist()
        ['loss']
        """
        import pandas as pd

        series = {}
        for name in self.names:
            steps, values = self[name]
            series[name] = pd.Series(values, index=steps).groupby(level=0).last()
        return pd.DataFrame(series).rename_axis("step")

    def __getitem__(self, name: str) -> Series:
        track = self._tracks.get(name)
        if track is None and name in self.expected:
            return np.empty(0, np.int64), np.empty(0)
        if track is None:
            raise unknown(_("measurement"), name, [*self.names, *sorted(self.expected - self._tracks.keys())])
        steps, values = track.read()
        return as_array(steps), values

    def __contains__(self, name: object) -> bool:
        return name in self._tracks  # the mapping's own way makes the arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return "History({})".format(", ".join(f"{name}: {len(self[name][1])}" for name in self.names))


def _thin(track: Track) -> Track:
    """Return a track of less than half the values: of each block of older ones, the lowest and the highest."""
    steps, values = track.read()
    count = len(values) * 3 // 4 // _BLOCK
    blocks = values[: count * _BLOCK].reshape(count, _BLOCK)
    pair = np.sort(np.stack([blocks.argmin(1), blocks.argmax(1)], axis=1), axis=1)
    pair[pair[:, 0] == pair[:, 1]] = 0, _BLOCK // 2  # all are alike, or no numbers
    older = (pair + _BLOCK * np.arange(count)[:, None]).reshape(-1)
    kept = np.concatenate([older, np.arange(count * _BLOCK, len(values))])
    thinned = Track(Steps(), Column(np.float64), Pyramid())
    thinned.steps.extend(pick(steps, kept))
    thinned.values.extend(values[kept])
    return thinned
