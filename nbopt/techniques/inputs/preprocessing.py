"""Preprocessing of inputs: learnt from the training samples alone, done in training and validation alike.

Statistics are those of each column of (n, features), of each channel of (n, channels, height, width, ...), and of all
numbers together for (n, a, b), where either could be the features. Missing values (NaN) are left out of them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nbopt.hyperparams import Choice, Float
from nbopt.i18n import N_, _
from nbopt.techniques.base import Technique
from nbopt.techniques.inputs.augmentation import needs_floats

_GROUP = N_("Data")


class Cleaning(Technique):
    """Fills in missing values (Little and Rubin 2002, section 4.2), and draws outliers in (winsorizing, Tukey 1962)."""

    impute = Choice(
        "none",
        options=("none", "mean", "median", "zero"),
        label=N_("Missing values"),
        group=_GROUP,
        help=N_("What replaces NaN: the mean or (lower) median of the training samples, or 0."),
    )
    outliers = Float(
        0.0,
        low=1.0,
        high=10.0,
        log=True,
        zero=True,
        ge=0.0,
        label=N_("Outliers"),
        group=_GROUP,
        help=N_("Clip inputs to this many standard deviations around their mean; 0: off."),
    )

    @property
    def acts(self) -> bool:
        """With either of the two."""
        return self.impute != "none" or self.outliers > 0

    @classmethod
    def unfit(cls, x: Tensor | None) -> str:
        """Without training samples in memory there is nothing to learn from."""
        return needs_samples(x)

    def fit(self, x: Tensor) -> None:
        """Learn mean, spread and median."""
        self.mean, self.spread = moments(x)
        groups = grouped(x)
        median = groups.nanmedian(1).values
        self.median = median.view(self.mean.shape)

    def change_inputs(self, x: Tensor) -> Tensor:
        """Return clean inputs."""
        if self.impute != "none":
            mean, median = self.mean.to(x.device), self.median.to(x.device)
            fill = {"mean": mean, "median": median, "zero": torch.zeros_like(mean)}
            x = torch.where(x.isnan(), fill[self.impute], x)
        if self.outliers > 0:
            mean = self.mean.to(x.device)
            reach = self.outliers * self.spread.to(x.device)
            x = torch.clamp(x, mean - reach, mean + reach)
        return x


class Scaling(Technique):
    """Brings inputs to mean 0 and variance 1, or to a range (LeCun et al. 1998, section 4.3)."""

    scaling = Choice(
        "none",
        options=("none", "standardize", "range"),
        label=N_("Scale inputs"),
        group=_GROUP,
        help=N_("Standardize to mean 0 and variance 1, or map the range of training values to another."),
    )
    range_low = Float(
        0.0,
        low=-1.0,
        high=1.0,
        label=N_("Range from"),
        group=_GROUP,
        help=N_("What the smallest training input is mapped to."),
    )
    range_high = Float(
        1.0,
        low=-1.0,
        high=1.0,
        label=N_("Range to"),
        group=_GROUP,
        help=N_("What the largest training input is mapped to."),
    )

    @property
    def acts(self) -> bool:
        """With any scaling."""
        return self.scaling != "none"

    @classmethod
    def unfit(cls, x: Tensor | None) -> str:
        """Without training samples in memory there is nothing to learn from."""
        return needs_samples(x)

    def fit(self, x: Tensor) -> None:
        """Learn mean, spread, smallest and largest value."""
        self.mean, self.spread = moments(x)
        groups = grouped(x)
        finite = torch.where(groups.isnan(), torch.inf, groups)
        self.least = finite.amin(1).view(self.mean.shape)
        finite = torch.where(groups.isnan(), -torch.inf, groups)
        width = finite.amax(1).view(self.mean.shape) - self.least
        self.width = torch.where(width > 0, width, 1.0)

    def change_inputs(self, x: Tensor) -> Tensor:
        """Return scaled inputs; what never varied comes to 0, or to the low end."""
        if self.scaling == "standardize":
            return (x - self.mean.to(x.device)) / self.spread.to(x.device)
        share = (x - self.least.to(x.device)) / self.width.to(x.device)
        return self.range_low + (self.range_high - self.range_low) * share


RESCALING = frozenset((*Cleaning.declared(), *Scaling.declared()))
"""The hyperparameters that may bring inputs to another scale."""


def grouped(x: Tensor) -> Tensor:
    """Return inputs as (groups, values): what is to be scaled together."""
    if x.ndim == 3:
        return x.reshape(1, -1)
    return x.reshape(len(x), -1).T if x.ndim < 3 else x.transpose(0, 1).flatten(1)


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return each group's mean and standard deviation (1 where it is 0)."""
    groups = grouped(x).double()
    mean = groups.nanmean(1)
    spread = (groups - mean[:, None]).square().nanmean(1).sqrt()
    shape = (1, *x.shape[1:]) if x.ndim < 3 else (1, len(groups), *[1] * (x.ndim - 2))
    spread = torch.where(spread > 0, spread, 1.0)
    return mean.view(shape).to(x.dtype), spread.view(shape).to(x.dtype)


def needs_samples(x: Tensor | None) -> str:
    """Return why the training samples cannot be learnt from; "" if they can."""
    if x is None:
        told = _("these come from a Dataset or DataLoader, or have several inputs")
        return _("it learns from training samples in memory, one tensor of them, and {told}", told=told)
    return needs_floats(x)
