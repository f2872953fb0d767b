"""The order in which an epoch takes its samples, drawn as far as it is needed."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import Any

import torch
from torch.utils.data import RandomSampler

from nbopt.data.noise import Noise


class LoaderOrder:
    """The indices of a sampler, drawn after what a loader draws from its generator first: a seed for its workers."""

    def __init__(self, sampler: Iterable[Any], generator: torch.Generator) -> None:
        self.sampler = sampler
        self.generator = generator

    def __iter__(self) -> Iterator[Any]:
        torch.empty((), dtype=torch.int64).random_(generator=self.generator)
        return iter(self.sampler)


def is_permutation(sampler: Any) -> bool:
    """Whether a sampler is one of torch's that draws each sample once."""
    if type(sampler) is not RandomSampler or sampler.replacement:
        return False
    return len(sampler) == len(sampler.data_source)


def permuting(count: int, sampler: Any) -> Any:
    """Return a sampler of ``count`` samples that draws from the same generator as one that permutes others."""
    if isinstance(sampler, LoaderOrder):
        return LoaderOrder(permuting(count, sampler.sampler), sampler.generator)
    return RandomSampler(range(count), generator=sampler.generator)


class Order:
    """The indices that an iterable yields, by their positions; only those of the batches that come next are held.

    So a sampler may yield any number of indices, and one that looks at what the training has done is asked no earlier
    than a plain loop would ask it. An iterable that raised is iterated anew, up to where it was.

    Parameters
    ----------
    indices : iterable
        A sampler, or a sequence of sample indices.
    noise : Noise, optional
        Seeded while the indices are drawn, for an iterable that draws random numbers.
    seed : int
    """

    def __init__(self, indices: Iterable[Any], noise: Noise | None = None, seed: int = 0) -> None:
        self._indices = indices
        self._noise = noise
        self._seed = seed
        self._held: list[Any] = []
        self._first = 0  # the position of the first index held
        self._draws: Iterator[Any] | None = None
        self._seeded: AbstractContextManager[object] = nullcontext()

    def reaches(self, stop: int) -> bool:
        """Return whether there are as many indices as ``stop``."""
        missing = stop - self._first - len(self._held)
        if missing > 0:
            self._held += self._draw(missing, list)
        return self._first + len(self._held) >= stop

    def forget(self, before: int) -> None:
        """Hold no indices before this position any more."""
        ahead = before - self._first - len(self._held)
        if ahead > 0:
            self._draw(ahead, lambda indices: deque(indices, maxlen=0))
        del self._held[: before - self._first]
        self._first = before

    def take(self, start: int, stop: int) -> list[Any]:
        """Return the indices at these positions, none of them forgotten; fewer at the end."""
        self.reaches(stop)
        return self._held[start - self._first : stop - self._first]

    def _draw(self, count: int, keep: Callable[[Iterator[Any]], Any]) -> Any:
        """Draw ``count`` indices more, or all that are left."""
        try:
            if self._draws is None:
                if self._noise is not None:
                    self._noise.begin_again()
                    self._seeded = self._noise.continued(self._seed)
                with Noise.lock, self._seeded:
                    self._draws = iter(self._indices)
                    deque(islice(self._draws, self._first + len(self._held)), maxlen=0)
            with Noise.lock, self._seeded:
                return keep(islice(self._draws, min(count, sys.maxsize)))
        except BaseException:
            self._draws = None
            raise
