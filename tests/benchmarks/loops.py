"""The contenders made of torch alone, and nbopt: each trains for a while when asked, and tells its steps a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import nbopt
from tests.benchmarks.workloads import Work

Contender = Callable[[float], float]
"""Trains for so many seconds; returns steps per second."""

WARM_SECONDS = 90.0  # at most, for compiling
JUDGED_SECONDS = 5.0  # a run watches its old tier for 2, then its new one


class Clock:
    """Counts steps from the end of the first, so that nobody's preparations are timed.

    Parameters
    ----------
    seconds : float
        How long to go on.

    Attributes
    ----------
    now : callable
        Of all clocks. `time.process_time` counts what the process computes, all its threads together: on a machine
        that does other work, only that repeats.
    """

    now: ClassVar[Callable[[], float]] = staticmethod(time.perf_counter)

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._start = self._end = 0.0
        self._steps = 0

    def tick(self) -> bool:
        """Note that a step is done; return whether it is time to stop."""
        now = Clock.now()
        if not self._start:
            self._start = now
            return False
        self._steps += 1
        if now < self._start + self._seconds:
            return False
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self._end = Clock.now()
        return True

    @property
    def rate(self) -> float:
        """Steps per second."""
        return self._steps / (self._end - self._start)


def by_hand(work: Work, device: str) -> Contender:
    """Return the loop that one writes by hand, on tensors that stay on the device."""
    x, y = (tensor.to(device) for tensor in work.data())

    def batches() -> Iterable[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(x), device=device)
        for at in range(0, len(x), work.batch):
            index = order[at : at + work.batch]
            yield x[index], y[index]

    return _train(work, device, batches)


def by_loader(work: Work, device: str) -> Contender:
    """Return the same loop over a ``DataLoader``."""
    loader = DataLoader(TensorDataset(*work.data()), batch_size=work.batch, shuffle=True)
    return _train(work, device, lambda: ((x.to(device), y.to(device)) for x, y in loader))


def _train(work: Work, device: str, batches: Callable[[], Iterable[tuple[Tensor, Tensor]]]) -> Contender:
    model, criterion = work.model().to(device), nn.CrossEntropyLoss()
    optimizer = work.optimizer(model.parameters(), lr=work.lr)

    def train(seconds: float) -> float:
        clock = Clock(seconds)
        while True:
            for x, y in batches():
                optimizer.zero_grad()
                criterion(model(x), y).backward()
                optimizer.step()
                if clock.tick():
                    return clock.rate

    return train


class Live:
    """A run of nbopt in its own thread, kept in a store as by default; no browser looks at it.

    Parameters
    ----------
    tier : str
        All but ``eager`` warm up first: until the run is on the tier it stays on.
    """

    def __init__(self, work: Work, device: str, folder: Path, tier: str) -> None:
        name = {torch.optim.SGD: "sgd", torch.optim.Adam: "adam"}[work.optimizer]
        self.run = nbopt.Run(
            work.model(),
            work.data(),
            optimizer=name,
            lr=work.lr,
            batch_size=work.batch,
            epochs=10**9,
            device=device,
            store=folder,
            tier=tier,
        )
        self.run.start()
        if tier != "eager":
            self._warm_up()
        self.run.pause()

    def _warm_up(self) -> None:
        end = time.monotonic() + WARM_SECONDS
        settled = 0
        while settled < 3 and time.monotonic() < end:
            time.sleep(0.5)
            compiling = any(thread.name == "nbopt compiles" for thread in threading.enumerate())
            settled = 0 if compiling or not self.run.training.tiers.reason else settled + 1
        time.sleep(JUDGED_SECONDS)

    def __call__(self, seconds: float) -> float:
        """Train for so long."""
        self.run.resume()
        before, start = self.run.step_count, Clock.now()
        while (spent := Clock.now() - start) < seconds:
            time.sleep(seconds - spent)
        steps = self.run.step_count - before
        if torch.cuda.is_available():
            torch.cuda.synchronize()  # what was launched counts once it is done
            spent = Clock.now() - start
        self.run.pause()
        return steps / spent
