"""Seeded noise. What a run draws follows from its seed, whoever else draws in the same process.

Models, datasets, losses and samplers draw from torch's default generator, from those of Python's `random` and of
`numpy.random`, and from generators of their own. In a forward pass or for a batch, a run has the first ones seeded, and
the others in the states that they have in this run; all are put back. So neither other runs nor the user's own cells
notice.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import lru_cache
from itertools import zip_longest
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nbopt.data.generators import get_state, seed, set_state
from nbopt.data.reached import find_generators
from nbopt.data.thread_generator import install, switch

ORDER, NOISE, SPLIT, EVALUATION, INITIALIZATION, EDITS, COMPRESSION = range(7)  # independent random streams of one run

_LOCK = threading.RLock()  # keeps two runs from seeding into each other's noise


def derive_seed(seed: int, stream: int, index: int = 0) -> int:
    """Return the 63-bit seed number ``index`` of one of a run's random streams."""
    state = np.random.SeedSequence([seed, stream, index]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


seed_of = lru_cache(2**12)(derive_seed)
"""The same, for seeds that many ask for again: all members of a population, say. Scripts hold the function itself."""


class Noise:
    """Generators, seeded in a ``with`` block and left as they were.

    On the CPU, the thread has a generator of its own meanwhile, see `nbopt.data.thread_generator`. Those of a GPU are
    seeded themselves, and those of Python and numpy where the code may draw from them.

    Parameters
    ----------
    device : torch.device
        Its generator is seeded beside the CPU's.
    *drawers
        The user's objects and functions that are called in the block.

    Attributes
    ----------
    lock : threading.RLock
        Held while a run draws.
    generator : torch.Generator or None
        The thread's own; None where torch's default one is seeded itself.
    compiled : bool
        Whether `torch.compile` made part of them.
    owned : sequence
        The generators that the drawers have of their own.
    states : sequence
        The states of these in this run.
    began : sequence
        ... and what they were when the epoch began: one that is begun again draws the same.
    """

    lock = _LOCK

    def __init__(self, device: torch.device, *drawers: Any) -> None:
        self._device = device
        self.owned: Sequence[Any] = ()
        self.states: Sequence[Any] = ()
        self.began: Sequence[Any] = ()
        self._drawers: tuple[Any, ...] = ()
        self._more: tuple[Any, ...] = ()
        self.look_at(*drawers)

    def look_at(self, *drawers: Any) -> None:
        """Find out what is drawn from; generators that are known already keep their states."""
        known = {id(generator): state for generator, state in zip(self.owned, self.states, strict=True)}
        self._drawers = drawers
        reached = find_generators(*drawers, *self._more)
        # What torch.compile makes draws past the thread's generator.
        self.compiled = reached.compiled
        own = install() and not self.compiled
        self.generator = torch.Generator() if own else None
        beside: list[Any] = [] if own else [torch.default_generator]
        if self._device.type == "cuda":
            beside.append(torch.cuda.default_generators[self._device.index or 0])
        elif self._device.type == "mps":
            beside.append(torch.mps._get_default_mps_generator())
        self.seeded_too, self.owned = (*beside, *reached.shared), tuple(reached.own)
        with self.lock:  # another run may be drawing from the same ones
            self.states = tuple(known[id(each)] if id(each) in known else get_state(each) for each in self.owned)
        self.began = self.states

    def draw_too(self, drawers: list[Any]) -> None:
        """Know that these draw in the block as well, as an optimizer's step may."""
        if tuple(drawers) != self._more:
            self._more = tuple(drawers)
            self.look_at(*self._drawers)

    def begin_again(self) -> None:
        """Draw from where the epoch began."""
        self.states = self.began

    def complete(self) -> None:
        """Let the next epoch begin where this one ended."""
        self.began = self.states

    def take(self, states: Sequence[Any]) -> Sequence[Any]:
        """Return states that a snapshot held, but what this run's generators can be put to."""
        taken = []
        for generator, own, state in zip_longest(self.owned, self.states, states[: len(self.owned)]):
            before = get_state(generator)
            try:
                set_state(generator, state)
                taken.append(state)
            except Exception:  # of another kind than the one that is given now
                taken.append(own)
            set_state(generator, before)
        return taken

    def drawn(self) -> list[Tensor]:
        """Return the states of torch's generators in a block, each in a tensor on the CPU."""
        generators = [self.generator, *self.seeded_too]
        return [each.get_state() for each in generators if isinstance(each, torch.Generator)]

    def seeded(self, seed: int, goes_on: bool = False) -> _Seeded:
        """Return the ``with`` block, to be entered with `lock` held.

        An interrupt may fall into Python's own ``__enter__`` and ``__exit__``; a lock's, of C, is given back anyway.

        Parameters
        ----------
        seed : int
        goes_on : bool
            Whether generators of the user's own go on in this run from where the block leaves them.
        """
        return _Seeded(self, seed, goes_on)

    def continued(self, seed: int) -> _Continued:
        """Return a ``with`` block that may be entered again: it then draws on from where it was left."""
        return _Continued(self, seed, True)


class _Seeded:
    def __init__(self, noise: Noise, seed: int, goes_on: bool) -> None:
        self._noise = noise
        self._seed = seed
        self._goes_on = goes_on

    def __enter__(self) -> None:
        noise, number = self._noise, self._seed
        own = noise.generator
        if own is not None:
            before = self._before = switch(own)
            self._mine = own.get_state() if before is own else None  # within a block of its own
            own.manual_seed(number)
        if noise.seeded_too:
            self._states = [get_state(generator) for generator in noise.seeded_too]
            for generator in noise.seeded_too:
                seed(generator, number)
        if noise.owned:
            self._of_user = [get_state(generator) for generator in noise.owned]
            for generator, state in zip(noise.owned, noise.states, strict=True):
                set_state(generator, state)

    def __exit__(self, kind: object, *_error: object) -> None:
        noise = self._noise
        own = noise.generator
        if noise.owned:
            if self._goes_on and kind is None:
                noise.states = [get_state(generator) for generator in noise.owned]
            for generator, state in zip(noise.owned, self._of_user, strict=True):
                set_state(generator, state)
        if noise.seeded_too:
            for generator, state in zip(noise.seeded_too, self._states, strict=True):
                set_state(generator, state)
        if own is not None:
            switch(self._before)
            if self._mine is not None:
                own.set_state(self._mine)


class _Continued(_Seeded):
    """Numbers drawn now and then, in one sequence."""

    _left: list[Any] | None = None

    def __enter__(self) -> None:
        super().__enter__()
        if self._left is not None:
            for generator, state in zip(self._generators(), self._left, strict=True):
                set_state(generator, state)

    def __exit__(self, kind: object, *error: object) -> None:
        self._left = [get_state(generator) for generator in self._generators()]
        super().__exit__(kind, *error)

    def _generators(self) -> Sequence[Any]:
        own = self._noise.generator
        return self._noise.seeded_too if own is None else [own, *self._noise.seeded_too]
