"""The run's clock, and its losses on their way from the device to the history."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nbopt.record.history import History
from nbopt.training.active_hooks import ActiveHooks

_FLUSH_SECONDS = 0.05  # how long a measured loss may wait on the device


class Block:
    """The losses of many runs in several steps, moved from the device once, when the first of the runs asks.

    Parameters
    ----------
    losses : Tensor
        (steps, runs).
    """

    def __init__(self, losses: Tensor) -> None:
        self._losses = losses
        self._values: list[list[float]] | None = None

    def row(self, number: int) -> list[float]:
        """Return the losses of run ``number``, step by step."""
        if self._values is None:
            self._values = self._losses.t().tolist()
        return self._values[number]


class LossBuffer:
    """Collects losses and moves them in batches, so that no step waits for the device.

    Attributes
    ----------
    due : float
        When, on `time.perf_counter`, the losses collected are to be moved.
    steps_per_second : float or None
        Recent speed; None before it is known.
    flush_seconds : float
        How long a measured loss may wait on the device.
    """

    def __init__(self, history: History, acting: ActiveHooks) -> None:
        self.due = 0.0
        self.flush_seconds = _FLUSH_SECONDS
        self.steps_per_second: float | None = None
        self._history = history
        self._acting = acting
        self._losses: list[Tensor] = []
        self.take = self._losses.append  # the loss of a step, detached
        self._rows: list[Tensor] = []  # of several steps each; they come before the single ones
        self._blocks: list[tuple[Block, int, int]] = []  # before both
        self._rates: list[float] = []  # of steps one after the other, where they are not the base rate
        self._rated_from = 0
        self._clock = 0.0
        self._ticking = False
        self._resumed_at = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds trained."""
        return self._clock + time.perf_counter() - self._resumed_at if self._ticking else self._clock

    def take_row(self, losses: Tensor) -> None:
        """Take note of the losses of several steps (steps,), detached: as one tensor, for each costs time."""
        if self._losses:
            self._rows = self._all_rows()
            self._losses.clear()
        self._rows.append(losses)

    def take_block(self, block: Block, number: int, count: int) -> None:
        """Take note of the losses of ``count`` steps, which are those of run ``number`` in a block of many."""
        if self._losses or self._rows:
            losses = torch.cat(self._all_rows())
            self._blocks.append((Block(losses[:, None]), 0, len(losses)))
            self._losses.clear()
            self._rows.clear()
        self._blocks.append((block, number, count))

    def _all_rows(self) -> list[Tensor]:
        return [*self._rows, torch.stack(self._losses)] if self._losses else self._rows

    def _collected(self) -> list[float]:
        """Return the losses that wait, and let go of them."""
        values = [value for block, number, _count in self._blocks for value in block.row(number)]
        if self._losses and not self._rows and self._losses[0].is_cpu:  # half the time of making one tensor of them
            values += [loss.item() for loss in self._losses]
        elif rows := self._all_rows():
            values += torch.cat(rows).tolist()
        self._losses.clear()
        self._rows.clear()
        self._blocks.clear()
        return values

    def take_rates(self, first: int, rates: Sequence[float]) -> None:
        """Take note of the learning rates of steps from number ``first`` on, where something changes the base rate."""
        if first != self._rated_from + len(self._rates):
            self._move_rates()
            self._rated_from = first
        self._rates.extend(rates)

    def _move_rates(self) -> None:
        if self._rates:
            end = self._rated_from + len(self._rates)
            self._history.extend("lr", range(self._rated_from, end), self._rates)
            self._rates.clear()
            self._rated_from = end

    @property
    def waiting(self) -> bool:
        """Whether there are losses to move."""
        return bool(self._losses or self._rows or self._blocks)

    def tick(self, running: bool) -> None:
        """Start or stop the clock: pauses are left out."""
        now = time.perf_counter()
        if running:
            self._resumed_at = now
            self.steps_per_second = None
        else:
            self._clock = self.seconds
        self._ticking = running
        self.due = now

    def forget(self, seconds: float) -> None:
        """Drop what was not moved yet, and set the clock."""
        self._losses.clear()
        self._rows.clear()
        self._blocks.clear()
        self._rates.clear()
        self._clock, self._resumed_at = seconds, time.perf_counter()

    def flush(self, step: int, progress: float, is_sound: Callable[[], bool]) -> tuple[int, float] | None:
        """Move the losses up to ``step`` to the history, in one transfer; return the first that went wrong.

        Parameters
        ----------
        step : int
            Steps done.
        progress : float
            Epochs done.
        is_sound : callable
            Whether the weights are numbers; asked where a loss is none.
        """
        self.due = time.perf_counter() + self.flush_seconds
        if not self.waiting:
            return None
        values = self._collected()
        count = len(values)
        first = step - count
        sound = math.isnan(sum(values)) and is_sound()
        found = (find(values, sound) for find in self._acting.find_trouble)
        wrong = min((index for index in found if index is not None), default=None)
        self._history.extend("loss", range(first, step), values)
        self._move_rates()
        elapsed = self.seconds
        before = self._history.last("_time") or 0.0
        self._history.append("_time", step - 1, elapsed)
        self._history.append("_epoch", step - 1, progress)
        if elapsed > before and first:
            rate = count / (elapsed - before)
            old = self.steps_per_second
            self.steps_per_second = rate if old is None else 0.8 * old + 0.2 * rate
        return None if wrong is None else (first + wrong, values[wrong])
