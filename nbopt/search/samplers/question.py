"""What a sampler is asked, and what it may know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbopt.search.spaces.space import Space

Place = NDArray[np.float64]
"""Where values are in the unit cube of a space, (dimensions,)."""


class Known(NamedTuple):
    """A trial that a sampler may know.

    Attributes
    ----------
    number : int
    place : ndarray
        Where it is, (dimensions,).
    loss : float
        Lower where it is better.
    slopes : mapping of str to float
        Derivatives of the loss by name, where they were found.
    """

    number: int
    place: Place
    loss: float
    slopes: Mapping[str, float] = {}


class Question(NamedTuple):
    """What a sampler is asked.

    Attributes
    ----------
    number : int
        Of the trial.
    space : Space
    known : list of Known
        The trials before it that have ended, in order.
    seed : int
        The study's.
    trials : int
        How many trials the study is to have.
    since : int
        The first trial in this space, which is another one after it was narrowed.
    """

    number: int
    space: Space
    known: list[Known]
    seed: int
    trials: int
    since: int = 0

    @property
    def size(self) -> int:
        """How many dimensions there are."""
        return len(self.space.open)

    def draw(self, number: int | None = None) -> np.random.Generator:
        """Return the random numbers of a trial, by default of this one."""
        return np.random.default_rng([self.seed, self.number if number is None else number])


Draw = Callable[[Question], Mapping[str, Any]]
