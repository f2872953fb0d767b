"""Learning-rate schedules that follow a plan: functions of where the run is alone.

Changed, swapped or rewound, they are at once where they belong.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from nbopt.hyperparams import Float, Int
from nbopt.i18n import N_
from nbopt.techniques.base import Technique

GROUP = N_("Optimizer")  # beside the rate that it varies

FINAL = Float(
    0.0,
    low=1e-4,
    high=1.0,
    log=True,
    zero=True,
    ge=0.0,
    label=N_("Final fraction"),
    group=GROUP,
    help=N_("The learning rate at the end of the run, as a fraction of the base rate: torch's eta_min / lr."),
)


class Schedule(Technique):
    """Base of the schedules: each changes the rate in its own way."""

    @classmethod
    def adopt(cls, given: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
        """Return values that one of the user's own brings, where a run begins with it.

        Parameters
        ----------
        given : mapping of str to Any
            What the run was given by name.
        values : mapping of str to Any
            The same checked, and what the optimizer brings.

        Raises
        ------
        InvalidHyperparam
            If something else is needed, or does not go with it.
        """
        return {}


class Constant(Schedule):
    """The base rate as it is: plain gradient descent (Cauchy 1847)."""

    @property
    def acts(self) -> bool:
        """Never: there is nothing to do."""
        return False


class StepDecay(Schedule):
    """A factor every so many epochs, as torch's StepLR (Zagoruyko and Komodakis 2016)."""

    step_size = Float(
        5.0,
        was="step_epochs",
        low=0.5,
        high=100.0,
        log=True,
        gt=0.0,
        label=N_("Step size"),
        group=GROUP,
        unit=N_("epochs"),
        help=N_("Epochs between two cuts of the learning rate: step_size of torch's StepLR."),
    )
    step_gamma = Float(
        0.5,
        was="step_factor",
        low=0.05,
        high=1.0,
        ge=0.0,
        label=N_("Decay factor"),
        group=GROUP,
        help=N_("The factor by which the learning rate is multiplied at each cut: gamma of torch's StepLR."),
    )
    compiles = True

    @property
    def moves_by(self) -> str:
        """By epochs."""
        return "epochs"

    def change_rate(self, rate: float, step: int, epoch: float, done: float) -> float:
        """Return rate * step_gamma ** (cuts so far)."""
        return rate * power(self.step_gamma, epoch // self.step_size)


class Exponential(Schedule):
    """A factor an epoch, smoothly (Szegedy et al. 2016, section 8), as torch's ExponentialLR."""

    exponential_gamma = Float(
        0.95,
        was="epoch_decay",
        low=0.5,
        high=1.0,
        ge=0.0,
        label=N_("Decay per epoch"),
        group=GROUP,
        help=N_("The factor by which the learning rate is multiplied per epoch: gamma of torch's ExponentialLR."),
    )
    compiles = True

    @property
    def moves_by(self) -> str:
        """By epochs."""
        return "epochs"

    def change_rate(self, rate: float, step: int, epoch: float, done: float) -> float:
        """Return rate * exponential_gamma ** epochs done."""
        return rate * power(self.exponential_gamma, epoch)


class Cosine(Schedule):
    """Half a cosine from the base rate to its final share (Loshchilov and Hutter 2017, eq. 5, without restarts)."""

    final_share = FINAL
    compiles = True

    @property
    def moves_by(self) -> str:
        """By the part of the run that is done."""
        return "length"

    def change_rate(self, rate: float, step: int, epoch: float, done: float) -> float:
        """Return the cosine; a longer run stretches it."""
        height = (1 + math.cos(math.pi * done)) / 2
        return rate * (self.final_share + (1 - self.final_share) * height)


class Linear(Schedule):
    """A line from the base rate to its final share, as for fine-tuning language models (Devlin et al. 2019)."""

    final_share = FINAL
    compiles = True

    @property
    def moves_by(self) -> str:
        """By the part of the run that is done."""
        return "length"

    def change_rate(self, rate: float, step: int, epoch: float, done: float) -> float:
        """Return the line; a longer run makes it less steep."""
        return rate * (self.final_share + (1 - self.final_share) * (1 - done))


class OneCycle(Schedule):
    """Up to the base rate, then far down (Smith and Topin 2018), along cosines as torch's OneCycleLR."""

    pct_start = Float(
        0.3,
        was="peak_at",
        low=0.0,
        high=0.9,
        ge=0.0,
        lt=1.0,
        label=N_("Peak position"),
        group=GROUP,
        help=N_("The part of the run after which the learning rate is highest: pct_start of torch's OneCycleLR."),
    )
    start_share = Float(
        0.04,
        low=1e-3,
        high=1.0,
        log=True,
        ge=0.0,
        label=N_("Initial fraction"),
        group=GROUP,
        help=N_("The learning rate at the start, as a fraction of the base: 1 / div_factor of torch's OneCycleLR."),
    )
    final_share = FINAL
    compiles = True

    @property
    def moves_by(self) -> str:
        """By the part of the run that is done."""
        return "length"

    def change_rate(self, rate: float, step: int, epoch: float, done: float) -> float:
        """Return the cycle at this part of the run."""
        if done < self.pct_start:
            start, turn = self.start_share, math.pi * (1 - done / self.pct_start)
        else:
            start = self.final_share
            turn = math.pi * (done - self.pct_start) / (1 - self.pct_start)
        height = (1 + math.cos(turn)) / 2
        return rate * (start + (1 - start) * height)


class Warmup(Technique):
    """A rate that grows in a line at the beginning, under any schedule (Goyal et al. 2017, section 2.2)."""

    warmup = Float(
        0.0,
        low=0.1,
        high=10.0,
        log=True,
        zero=True,
        ge=0.0,
        label=N_("Warm-up"),
        group=GROUP,
        unit=N_("epochs"),
        help=N_("Epochs over which the learning rate rises to its scheduled value, from a hundredth of it."),
        synonyms="warmup_epochs warm_up",
    )
    warmup_steps = Int(
        0,
        low=1,
        high=2**14,
        powers=True,
        zero=True,
        ge=0,
        label=N_("Warm-up steps"),
        group=GROUP,
        unit=N_("steps"),
        help=N_("The same in steps. If both are set, the slower of the two applies."),
    )
    compiles = True
    off: ClassVar[Mapping[str, Any]] = {"warmup": 0.0, "warmup_steps": 0}

    @property
    def acts(self) -> bool:
        """With any length."""
        return self.warmup > 0 or self.warmup_steps > 0

    @property
    def moves_by(self) -> str:
        """Where its length is given in epochs, by these."""
        return "epochs" if self.warmup else ""

    def change_rate(self, rate: float, step: int, epoch: float, done: float) -> float:
        """Return the rate as far as it has grown."""
        grown = min(1.0, epoch / self.warmup) if self.warmup else 1.0
        if self.warmup_steps:
            grown = min(grown, step / self.warmup_steps)
        return rate * (0.01 + 0.99 * grown)


def power(base: float, exponent: float) -> float:
    """Return base ** exponent, 1e12 at most."""
    try:
        return min(float(base**exponent), 1e12)
    except OverflowError:
        return 1e12
