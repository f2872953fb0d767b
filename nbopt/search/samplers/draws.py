"""What a sampler that was given draws from, so that one given anew goes on where that one was."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from nbopt.data.generators import from_json, get_state, set_state, to_json
from nbopt.data.reached import find_generators


class Draws:
    """The states of a sampler's generators after each trial that it was asked for.

    Parameters
    ----------
    sampler : object
        One that draws in the order of calls.
    """

    def __init__(self, sampler: Any) -> None:
        self._sampler = sampler
        self._generators = find_generators(sampler).own
        self._last = -1  # the trial that was asked for last
        self._states = {self._last: self._now()}

    def note(self, number: int) -> None:
        """Take note after trial ``number``, the last one, was asked for."""
        if number == 0:  # some are made when they are first drawn from
            self._generators = find_generators(self._sampler).own
        self._last, self._states[number] = number, self._now()

    def take(self, number: int) -> dict[str, str]:
        """Return the states that a trial changed which has ended; it may have drawn itself as it went."""
        if number == self._last:
            self._states[number] = self._now()
        before = self._states.get(number - 1, {})
        return {place: state for place, state in self._states[number].items() if before.get(place) != state}

    def go_back(self, number: int, notes: Iterable[Mapping[str, str]]) -> None:
        """Go to where the generators were when ``number`` was the last trial asked for.

        Parameters
        ----------
        number : int
        notes : iterable of mapping
            What `take` returned for the trials up to this one, here or in another process.
        """
        if number == self._last:
            return
        states = {**self._states[-1], **{place: state for note in notes for place, state in note.items()}}
        for place, generator in enumerate(self._generators):
            if (state := states.get(str(place))) is not None:
                set_state(generator, from_json(json.loads(state)))
        self._last, self._states[number] = number, states

    def _now(self) -> dict[str, str]:
        return {str(place): json.dumps(to_json(get_state(each))) for place, each in enumerate(self._generators)}
