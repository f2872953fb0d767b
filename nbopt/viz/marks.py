"""The marks that stand where a hyperparameter was changed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbopt.formatting import setting
from nbopt.record.journal import EDIT, Entry, Journal

Array = NDArray[np.float64]

_LINES = 4  # of the changes at several steps that are drawn as one mark


class Mark(NamedTuple):
    """All changes at one step.

    Attributes
    ----------
    step : int
    text : str
        One line for each change: name, old and new value.
    """

    step: int
    text: str


class Tick(NamedTuple):
    """A mark as drawn: where on the x axis, and what it says."""

    x: float
    text: str


class Marks:
    """The marks of a run's changes and edits, without those that a rewind undid.

    Parameters
    ----------
    journal : Journal
    label : callable
        Returns what panels call a hyperparameter.

    Attributes
    ----------
    marks : list of Mark
        In order; changes at one step share a mark.
    applied : dict of str to int
        The step of each hyperparameter's newest change, in the order of these changes.
    rewinds : int
        How often the run went back so far.
    back_to : int
        The step it went back to the last time.
    """

    def __init__(self, journal: Journal, label: Callable[[str], str]) -> None:
        self.marks: list[Mark] = []
        self.applied: dict[str, int] = {}
        self.rewinds = 0
        self.back_to = 0
        self._journal = journal
        self._label = label
        self._read = 0
        self._changes: list[Entry] = []

    def refresh(self) -> None:
        """Take up what was journaled since the last time."""
        entries = self._journal[self._read :]
        self._read += len(entries)
        for entry in entries:
            if entry.kind == "change" or entry.name == EDIT:
                self._add(entry)
            elif entry.name == "rewind":
                self.rewinds += 1
                self.back_to = entry.new
                kept = [change for change in self._changes if change.step < entry.new]
                self._changes, self.marks, self.applied = [], [], {}
                for change in kept:
                    self._add(change)

    def _add(self, change: Entry) -> None:
        self._changes.append(change)
        self.applied.pop(change.name, None)
        self.applied[change.name] = change.step
        text = change.new["reason"] if change.name == EDIT else self._tell(change)
        if self.marks and self.marks[-1].step == change.step:
            text = f"{self.marks.pop().text}\n{text}"
        self.marks.append(Mark(change.step, text))

    def _tell(self, change: Entry) -> str:
        return f"{self._label(change.name)} {setting(change.old)} → {setting(change.new)}"


def visible(marks: Sequence[Mark], x: Array, span: tuple[float, float], most: int) -> list[Tick]:
    """Return the marks within ``span``, at most about ``most``: those too close to tell apart are drawn as one.

    Parameters
    ----------
    marks : sequence of Mark
    x : ndarray
        Where each stands, in order.
    span : (low, high)
        The visible range of x.
    most : int
    """
    low, high = span
    first, last = int(np.searchsorted(x, low)), int(np.searchsorted(x, high, side="right"))
    width = 2.0 ** math.ceil(math.log2((high - low) / most))  # so that few marks regroup while the range grows
    ends = first + np.flatnonzero(np.diff(np.floor(x[first:last] / width), append=np.inf)) + 1
    return [_joined(marks[start:end], float(x[end - 1])) for start, end in pairwise([first, *ends.tolist()])]


def _joined(group: Sequence[Mark], x: float) -> Tick:
    lines = [line for mark in group[-_LINES - 1 :] for line in mark.text.split("\n")]
    most = max(_LINES, group[-1].text.count("\n") + 1)  # all those of one step
    return Tick(x, "\n".join(lines if len(lines) <= most else ["…", *lines[-most:]]))
