"""Public training codes, trained by their author's loop and by a run, and what the two must have in common.

A code makes model, loaders and optimizer (`make`), has the author's loop (`loop`), and hands the same things to a run
(`run`). Everything is made anew for each of them, from the same seeds.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import RandomSampler

import nbopt
from nbopt import Run
from nbopt.data.noise import NOISE, ORDER, derive_seed
from nbopt.data.sources import makes_batches

SEED = 0  # of the run
OWN = ("loss", "forward", "optimizer", "metrics", "schedule")  # what a store does not hold


class Code:
    """One training code.

    Attributes
    ----------
    model : torch.nn.Module
    train : loader
        What the author's loop iterates.
    val : loader or None
    unwritten : str
        What a script is refused for, as a pattern; "" for nothing.
    folder : path or None
        Of the store that keeps the run.
    opens : str or None
        The id of a run in it that is opened again, in the place of a new one.
    """

    model: torch.nn.Module
    train: Any
    val: Any = None
    unwritten = ""
    folder: str | None = None
    opens: str | None = None

    def make(self) -> None:
        """Make what the author makes before the loop."""
        raise NotImplementedError

    def loop(self) -> Iterator[torch.Tensor]:
        """Train as the author does; yield the loss of each step."""
        raise NotImplementedError

    def run(self) -> Run:
        """Return a run of the same things."""
        raise NotImplementedError

    def given(self, **settings: Any) -> Run:
        """Return a run on the CPU with these settings."""
        if self.opens is None:
            return Run(self.model, self.train, self.val, seed=SEED, device="cpu", store=self.folder, **settings)
        own = {name: settings[name] for name in OWN if name in settings}
        return nbopt.open(self.opens, self.model, self.train, self.val, store=self.folder, **own)


class SeededAlike:
    """A loader that draws what a run draws, epoch by epoch and step by step, so that a plain loop can be compared.

    A run draws the order of an epoch from (seed, epoch) and the noise of a step from (seed, step); a plain loop goes on
    drawing from the process's generators. The loader is the author's, and so are its batches: only the generators are
    seeded, before each batch and for the step that is done with it.
    """

    def __init__(self, loader: Any) -> None:
        self.loader = loader
        self._epoch = self._step = 0
        sampler = getattr(loader, "sampler", None)
        self._is_unseeded = isinstance(sampler, RandomSampler) and sampler.generator is None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        seed = derive_seed(SEED, ORDER, self._epoch)
        self._epoch += 1
        size = 1
        if makes_batches(self.loader):
            first = seed + 1
        else:
            first, size = seed, self.loader.batch_size
            if self._is_unseeded:  # apart from what the samples draw
                sampler = self.loader.sampler
                sampler.generator = torch.Generator().manual_seed(seed)
                if sampler.replacement:  # it seeds a generator of its own
                    sampler.generator.manual_seed(
                        int(torch.empty((), dtype=torch.int64).random_(generator=sampler.generator))
                    )
        with seeded(seed):
            batches = iter(self.loader)
        while True:
            with seeded(first):
                try:
                    batch = next(batches)
                except StopIteration:
                    return
            first += size
            with seeded(derive_seed(SEED, NOISE) + self._step):
                self._step += 1
                yield batch


@contextmanager
def seeded(number: int) -> Iterator[None]:
    """Seed the generators of torch, Python and numpy as a run does; put them back afterwards."""
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()
    torch.manual_seed(number)
    random.seed(number)
    np.random.seed([number % 2**32, number >> 32])
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        random.setstate(states[1])
        np.random.set_state(states[2])


class Plain(NamedTuple):
    """What the author's loop did: losses, and the weights after each step."""

    losses: list[float]
    weights: list[dict[str, torch.Tensor]]
    val_losses: list[float]


def made(kind: type[Code], folder: str | None = None, opens: str | None = None) -> Code:
    """Return a code with everything made, always the same."""
    code = kind()
    code.folder, code.opens = folder, opens
    with torch.random.fork_rng():
        torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)
        code.make()
    return code


@cache
def plain(kind: type[Code]) -> Plain:
    """Train by the author's loop."""
    code = made(kind)
    code.train = SeededAlike(code.train)
    code.val_losses = []
    losses, weights = [], [state(code.model)]
    for loss in code.loop():
        losses.append(loss.item())
        weights.append(state(code.model))
    return Plain(losses, weights, code.val_losses)


@cache
def trained(kind: type[Code]) -> Run:
    """Train by a run."""
    return finish(made(kind).run())


def finish(run: Run) -> Run:
    """Train to the end."""
    for _event in run.events():
        pass
    return run


def state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return a copy of all weights and buffers."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def same(model: torch.nn.Module, weights: dict[str, torch.Tensor]) -> bool:
    """Whether a model has just these weights, to the bit."""
    now = model.state_dict()
    return now.keys() == weights.keys() and all(torch.equal(now[name], weights[name]) for name in now)


# -- what is asked of a code


def does_as_the_loop(kind: type[Code]) -> bool:
    """Whether a run's losses and weights are the loop's, to the bit."""
    loop, run = plain(kind), trained(kind)
    losses = run.history["loss"][1].tolist()
    return losses == loop.losses and same(run.model, loop.weights[-1])


def past_is_exact(kind: type[Code]) -> dict[str, bool]:
    """Return what of a run's past leads to the weights that the loop had there."""
    weights, run = plain(kind).weights, finish(made(kind).run())
    at = len(weights) * 2 // 3
    found = {}
    branch = run.branch(at)
    found["branch"] = same(branch.model, weights[at])
    found["end of the branch"] = same(finish(branch).model, weights[-1])
    found["parent"] = same(run.model, weights[-1])
    replay = run.replay()
    replay.wait(60)
    found["replay"] = same(replay.model, weights[-1])
    run.rewind(at)
    found["rewind"] = same(run.model, weights[at])
    found["told to be exact"] = run.exact is not False  # None where a snapshot was taken at the very step
    found["end after the rewind"] = same(finish(run).model, weights[-1])
    with tempfile.TemporaryDirectory() as folder:
        left = made(kind, folder).run()
        left.step(at)
        left.stop()
        run = made(kind, folder, left.id).run()
        found["open"] = same(run.model, weights[at])
        found["end after open"] = same(finish(run).model, weights[-1])
        run.recorder.close()
    return found


def script_ends_alike(kind: type[Code]) -> bool:
    """Whether the run's script, executed without nbopt, ends with the run's loss and weights, to the bit."""
    run, code = trained(kind), made(kind)
    script = run.to_python()
    with without_nbopt(), torch.random.fork_rng():
        names: dict[str, Any] = {}
        exec(compile(script, "script.py", "exec"), names)
        measured = names["train"](code.model, code.train, code.val)
    loss = run.history["loss"]
    if run.epoch:  # the script tells the means of epochs
        steps = len(loss[1]) // run.epoch
        assert measured["loss"][-1] == sum(loss[1].tolist()[-steps:]) / steps
    for name in measured.keys() - {"loss"}:
        assert measured[name][-1] == run.history.last(name), name
    return same(code.model, state(run.model))


@contextmanager
def without_nbopt() -> Iterator[None]:
    """Put nbopt out of reach of what is imported within."""
    hidden = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "nbopt"}
    sys.modules["nbopt"] = None
    try:
        yield
    finally:
        sys.modules.update(hidden)
