"""What values of a hyperparameter would do, as cells of a strip below its control, or of a map of two of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from nbopt.formatting import brief, setting
from nbopt.i18n import _

_SURE = {2: 6.31, 3: 2.92, 4: 2.35, 5: 2.13}  # Student's t, by how many draws: 90 % of what is noise lies within
_SURE_OF_MANY = 2.0
_FAINTEST = 0.2


class Asked(Protocol):
    """What was found out: a `nbopt.run.population.what_if.WhatIf`."""

    @property
    def name(self) -> str:
        """The hyperparameter."""

    @property
    def values(self) -> list[Any]:
        """What was tried."""

    @property
    def losses(self) -> NDArray[np.float64]:
        """Of each value and draw."""

    @property
    def now(self) -> float:
        """The loss before; NaN where that is not known."""

    @property
    def steps(self) -> int:
        """How many were done."""

    @property
    def present(self) -> Any:
        """The value that the run has."""


class Cell(NamedTuple):
    """A value.

    Attributes
    ----------
    label : str
        The value as it is written.
    shade : float
        From -1, a lower loss than the present value would lead to, to 1, a higher one; 0 where the difference does not
        exceed what other batches make of it.
    is_present, is_best : bool
        Whether it is the value that the run has; whether its loss is the lowest.
    text : str
        What there is to read.
    """

    label: str
    shade: float
    is_present: bool
    is_best: bool
    text: str


def cells(found: Asked) -> list[Cell]:
    """Return a cell for each value.

    Examples
    --------
    >>> run.step(3)
    >>> [cell.label for cell in cells(run.what_if("lr", values=[0.001, 0.1], steps=2))]
    ['0.001', '0.1']
    """
    losses = found.losses
    means = losses.mean(1)
    best = None if np.isnan(means).all() else int(np.nanargmin(means))
    shades = shades_of(losses, found.values.index(found.present) if found.present in found.values else None)
    return [
        Cell(label_of(value), shade, value == found.present, row == best, _tell(found, row, shade))
        for row, (value, shade) in enumerate(zip(found.values, shades, strict=True))
    ]


def label_of(value: Any) -> str:
    """Return how a value is written, or a value each of several hyperparameters.

    Examples
    --------
    >>> label_of((0.001, 64))
    '0.001, 64'
    """
    return ", ".join(map(setting, value)) if isinstance(value, tuple) else setting(value)


def shades_of(losses: NDArray[np.float64], present: int | None) -> list[float]:
    """Return how much better or worse than the present value each is, from -1 to 1; see `Cell`.

    Parameters
    ----------
    losses : ndarray
        (values, draws); NaN counts as worst.
    present : int or None
        The row of the present value; None where the middle of all is to stand for it.

    Examples
    --------
    >>> shades_of(np.array([[1.0, 1.1], [0.5, 0.6], [1.0, 1.11]]), 0)
    [0.0, -0.6, 0.0]
    """
    own = losses[present] if present is not None else np.full(losses.shape[1], math.nan)
    base = own if np.isfinite(own).all() else np.full(losses.shape[1], _middle(losses))
    effects = [_effect(row - base) for row in losses]
    sizes = [abs(effect) for effect in effects if effect and math.isfinite(effect)]
    usual = float(np.median(sizes)) if sizes else 1.0
    return [_shade(effect, usual) for effect in effects]


def _middle(losses: NDArray[np.float64]) -> float:
    finite = losses[np.isfinite(losses)]
    return float(np.median(finite)) if finite.size else 0.0


def _effect(differences: NDArray[np.float64]) -> float:
    """Return the mean of differences between draws on the same batches; 0 where that may be noise."""
    if not np.isfinite(differences).all():
        return math.inf
    mean, draws = float(differences.mean()), len(differences)
    if draws == 1:
        return mean
    sure = _SURE.get(draws, _SURE_OF_MANY) * float(differences.std(ddof=1)) / math.sqrt(draws)
    return mean if abs(mean) > sure else 0.0


def _shade(effect: float, usual: float) -> float:
    if not effect:
        return 0.0
    strength = 1.0 if math.isinf(effect) else abs(effect) / (abs(effect) + usual)
    return round(math.copysign(_FAINTEST + (1 - _FAINTEST) * strength, effect), 3)


def _tell(found: Asked, row: int, shade: float) -> str:
    mean, spread = float(found.losses[row].mean()), float(found.losses[row].std())
    what = {"name": found.name, "value": label_of(found.values[row]), "steps": found.steps}
    if not math.isfinite(mean):
        return _("{name} {value}: no finite loss in {steps} steps", **what)
    mean_text, spread_text = with_spread(mean, spread)
    what |= {"mean": mean_text, "spread": spread_text}
    text = (
        _("{name} {value}: {mean} ± {spread} in {steps} steps", **what)
        if math.isnan(found.now)
        else _("{name} {value}: {now} → {mean} ± {spread} in {steps} steps", **what, now=brief(found.now))
    )
    is_other = found.values[row] != found.present
    return _("{said}; noise", said=text) if is_other and not shade else text


def with_spread(mean: float, spread: float) -> tuple[str, str]:
    """Return a measurement and its spread as they are written: no digits that the spread says nothing of.

    Examples
    --------
    >>> with_spread(0.41234, 0.00612), with_spread(0.41234, 0.0)
    (('0.412', '0.006'), ('0.4123', '0'))
    """
    short = float(f"{spread:.1g}")
    if not 0 < short < math.inf or not 1e-3 <= abs(mean) < 1e4 or short < abs(mean) * 1e-4:
        return brief(mean), brief(short)
    digits = max(0, -math.floor(math.log10(short)))
    return f"{mean:.{digits}f}", f"{short:.{digits}f}"


def rows_and_columns(values: Sequence[tuple[Any, Any]]) -> tuple[list[Any], list[Any]]:
    """Return the different values of the first and of the second of two hyperparameters, in order."""
    first, second = ([*dict.fromkeys(pair[place] for pair in values)] for place in (0, 1))
    return first, second
