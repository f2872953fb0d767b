"""Learning-rate schedules that look at losses and gradients.

They keep a ``scale`` on the base rate, which one hands to the next when they are swapped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from nbopt.hyperparams import Float, Int
from nbopt.i18n import N_
from nbopt.techniques.schedules.planned import GROUP, Schedule


class _Watching(Schedule):
    """What schedules that go by the epochs' losses share.

    Attributes
    ----------
    scale : float
        The factor now.
    total, count : Tensor or None, int
        Sum and number of the losses of this epoch's steps.
    """

    memory: ClassVar[tuple[str, ...]] = ("scale", "total", "count")
    scale = 1.0
    total: Tensor | None = None
    count = 0

    def change_rate(self, rate: float, step: int, epoch: float, done: float) -> float:
        """Return the rate that the losses so far have led to."""
        return rate * self.scale

    def after_step(self, loss: Tensor) -> None:
        """Add up the losses, on the device."""
        self.total = loss if self.total is None else self.total + loss
        self.count += 1

    def end_epoch(self) -> float:
        """Return the mean loss of the epoch's steps, and begin another epoch."""
        mean = math.nan if self.total is None else float(self.total) / self.count
        self.total, self.count = None, 0
        return mean


class OnPlateau(_Watching):
    """A cut when the loss has not improved for some epochs (He et al. 2016, section 3.4), as ReduceLROnPlateau.

    The threshold is torch's, 1e-4 of the loss; of its size, where it is negative. It goes by the validation loss or,
    without validation, the mean of the epoch's steps.
    """

    plateau_patience = Int(
        5,
        low=0,
        high=50,
        ge=0,
        label=N_("Plateau"),
        group=GROUP,
        unit=N_("epochs"),
        help=N_("Epochs without improvement before the learning rate is cut: patience of torch's ReduceLROnPlateau."),
    )
    plateau_factor = Float(
        0.5,
        low=0.05,
        high=1.0,
        ge=0.0,
        label=N_("Decay factor"),
        group=GROUP,
        help=N_("The factor by which each cut multiplies the learning rate: factor of torch's ReduceLROnPlateau."),
    )

    memory: ClassVar[tuple[str, ...]] = ("scale", "total", "count", "lowest", "waited")
    compiles = True
    lowest: float | None = None
    waited = 0

    def after_epoch(self, val_loss: float | None) -> None:
        """Cut the rate if patience is at its end."""
        mean = self.end_epoch()
        loss = mean if val_loss is None else val_loss
        lowest = self.lowest
        if lowest is None or loss < lowest * (1 - math.copysign(1e-4, lowest)):
            self.lowest, self.waited = loss, 0
        else:
            self.waited += 1
        if self.waited > self.plateau_patience:
            self.scale, self.waited = self.scale * self.plateau_factor, 0


class BoldDriver(_Watching):
    """Faster while an epoch's mean loss falls, much slower when it rises (Battiti 1989, section 2).

    The mean over an epoch stands for his loss of the whole set; a step that made it worse is not taken back.
    """

    bold_up = Float(
        1.05,
        low=1.0,
        high=1.5,
        gt=0.0,
        label=N_("Increase factor"),
        group=GROUP,
        help=N_("What the learning rate is multiplied by after an epoch with a lower loss."),
    )
    bold_down = Float(
        0.5,
        low=0.1,
        high=1.0,
        ge=0.0,
        label=N_("Decrease factor"),
        group=GROUP,
        help=N_("What the learning rate is multiplied by after an epoch with a higher loss."),
    )

    memory: ClassVar[tuple[str, ...]] = ("scale", "total", "count", "previous")
    compiles = True
    previous: float | None = None

    def after_epoch(self, val_loss: float | None) -> None:
        """Compare this epoch's mean loss with the one before."""
        loss = self.end_epoch()
        if self.previous is not None:
            factor = self.bold_up if loss < self.previous else self.bold_down
            self.scale = min(max(self.scale * factor, 1e-12), 1e12)
        self.previous = loss


class Hypergradient(Schedule):
    """Learns the rate by gradient descent on it (Baydin et al. 2018, eq. 4 to 8).

    The loss falls with the rate as ``gradient . (last update / last rate)`` tells, for every optimizer whose update is
    proportional to its rate. It reads a number off the device in each step, and stays within a thousandth and a
    thousand times the base rate.
    """

    hypergradient_lr = Float(
        1e-4,
        was="hyper_rate",
        low=1e-8,
        high=1.0,
        log=True,
        zero=True,
        ge=0.0,
        label=N_("Hypergradient learning rate"),
        group=GROUP,
        help=N_("β: the learning rate of the learning rate."),
    )
    memory: ClassVar[tuple[str, ...]] = ("scale", "before", "used", "slope")
    scale = 1.0
    before: list[Tensor] | None = None
    used = 0.0
    slope = 0.0

    def train(self, weights: Sequence[nn.Parameter]) -> None:
        """Act on ``weights`` from now on; what it remembers is of others."""
        self.weights, self.before = weights, None

    def after_gradients(self) -> None:
        """Find the loss's slope along the last update; note the weights."""
        now = [weight.detach().clone() for weight in self.weights]
        self.slope = 0.0
        if self.before is not None and self.used > 0:
            for weight, old, new in zip(self.weights, self.before, now, strict=True):
                if weight.grad is not None:
                    self.slope += float(torch.sum(weight.grad * (new - old)))
            self.slope /= self.used
        self.before = now

    def change_rate(self, rate: float, step: int, epoch: float, done: float) -> float:
        """Move the rate down its slope."""
        if rate > 0 and math.isfinite(self.slope):
            moved = self.scale - self.hypergradient_lr * self.slope / rate
            self.scale = min(max(moved, 1e-3), 1e3)
        self.used = rate * self.scale
        return self.used
