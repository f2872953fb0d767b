"""The curves of a study's trials: what they reported on the way, as one table that grows with them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nbopt.search.trial import Trial
from nbopt.viz.fan import Fan

_LEAST = 64  # trials that there is room for


class Reports:
    """Keeps a `nbopt.viz.fan.Fan` of trials up; a look costs what is new, and no more.

    Attributes
    ----------
    fan : Fan
    """

    def __init__(self) -> None:
        self._make_room(_LEAST)

    def _make_room(self, count: int) -> None:
        self._room = count
        self.fan = Fan(count, "")
        self._seen: list[Trial | None] = [None] * count
        self._read = [0] * count

    def take(self, trials: Sequence[Trial]) -> None:
        """Take up what was reported since the last time; a trial that is another one now is read anew."""
        if len(trials) > self._room:
            self._make_room(1 << (len(trials) - 1).bit_length())
        rows: list[int] = []
        lengths, steps, values = [], [], []
        for row, trial in enumerate(trials):
            if trial is not self._seen[row]:
                self.fan.forget(row)
                self._seen[row], self._read[row] = trial, 0
            if len(trial.reports) == self._read[row]:
                continue
            items = [*trial.reports.items()]  # at once: a thread that trains may add to it
            fresh = np.array(items[self._read[row] :], float)
            self._read[row] = len(items)
            fresh = fresh[fresh[:, 0] >= 0]
            self.fan.last[row] = items[-1][1]
            if len(fresh):
                rows.append(row)
                lengths.append(len(fresh))
                steps.append(fresh[:, 0].astype(np.int64))
                values.append(fresh[:, 1])
        for row in range(len(trials), self._room):
            if self._seen[row] is not None:  # given up, and not asked for again yet
                self.fan.forget(row)
                self._seen[row], self._read[row] = None, 0
        if rows:
            self.fan.add(np.repeat(np.array(rows), lengths), np.concatenate(steps), np.concatenate(values))
