"""Whether one set of settings is better than another: two populations compared, seed by seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbopt.errors import InvalidHyperparam, shorten, unknown
from nbopt.formatting import brief, number
from nbopt.hyperparams import Float
from nbopt.i18n import N_, _
from nbopt.run.population.member import Member
from nbopt.run.population.population import Population
from nbopt.run.stored.fingerprint import describe_data

LEAST = 6
"""Seeds that are needed: with fewer, the smallest p that a Wilcoxon test can come to is above 0.05."""

_RESAMPLES = 9999
_ROUNDING = 1e-6  # of a value: what another order of the same samples makes of it
_NAMED = 2  # settings that differ, by which sides are called
_WORDS = {"val_loss": N_("validation loss")}

Floats = NDArray[np.float64]


class Comparison(NamedTuple):
    """What `nbopt.compare` found. Written as text, it is one sentence.

    Attributes
    ----------
    names : tuple of str
        What the two sides are called: the settings in which they differ or, where these are many, their names.
    measure : str
        What was compared.
    at : int or str
        After which step, or ``"best"``.
    seeds : list of int
        Of the pairs, (n,).
    one, other : ndarray
        The values under each seed, (n,).
    difference : float
        The mean over seeds of ``one - other``.
    low, high : float
        Its interval by the bootstrap: bias-corrected and accelerated (Efron 1987), 9999 resamples of the pairs.
    confidence : float
        Of the interval.
    p : float
        Of Wilcoxon's signed-rank test, two-sided.
    """

    names: tuple[str, str]
    measure: str
    at: int | str
    seeds: list[int]
    one: Floats
    other: Floats
    difference: float
    low: float
    high: float
    confidence: float
    p: float

    @property
    def is_shown(self) -> bool:
        """Whether a difference is shown: the interval is on one side of 0, and the test agrees."""
        return (self.low > 0 or self.high < 0) and self.p <= 1 - self.confidence

    @property
    def better(self) -> int | None:
        """Which side is better, 0 or 1; None where that is not shown, or if less is not better, as with metrics."""
        return int(self.difference > 0) if self.is_shown and _is_loss(self.measure) else None

    def __str__(self) -> str:
        better, flip = self.better, self.difference > 0 and _is_loss(self.measure) and self.is_shown
        (first, second), sign = (self.names[::-1], -1.0) if flip else (self.names, 1.0)
        low, high = sorted((sign * self.low, sign * self.high))
        size = sign * self.difference
        if size < 0:  # told as a size
            size, low, high, way = -size, -high, -low, _("lower")
        else:
            way = _("higher")
        told = _(
            "{measure} {way} by {size} ({percent} % interval {low} to {high}, {count} seeds, Wilcoxon p = {p})",
            **{"measure": _(_WORDS.get(self.measure, self.measure)), "way": way, "size": brief(size)},
            **{"percent": f"{100 * self.confidence:g}", "low": brief(low), "high": brief(high)},
            **{"count": len(self.seeds), "p": f"{self.p:.2g}"},
        )
        sides = {"first": first, "second": second, "told": told}
        if better is not None:
            return _("{first} is better than {second}: {told}.", **sides)
        if self.is_shown:
            return _("{first} against {second}: {told}.", **sides)
        return _("No difference is shown between {first} and {second}: with {first}, {told}.", **sides)

    def __repr__(self) -> str:
        return f"<Comparison {self}>"


def compare(
    one: Any, other: Any, measure: str = "val_loss", at: int | str = "end", *, confidence: float = 0.95
) -> Comparison:
    """Compare two runs, each done under the same seeds: the difference, with an interval.

    Differences are those of pairs under one seed, which see the same batches and masks where both sides draw alike:
    what a seed does to both is no part of them.

    Parameters
    ----------
    one, other : Population or Run
        As `Run.repeat` returns them, or with a sequence of seeds; of a run, its last ``repeats``. They have to be done.
    measure : str
        What a validation measures: ``"val_loss"``, ``"val_accuracy"``, ...
    at : int, "end" or "best"
        After which step; ``"best"`` takes the lowest loss of each member.
    confidence : float
        Of the interval, in (0.5, 1).

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        If the two cannot be compared: other seeds, steps, validation data or losses, fewer than six seeds, members that
        train still or failed, or seeds that made no difference.
    InvalidHyperparam
        For a name that was not measured.

    Examples
    --------
    >>> import torch
    >>> x, y = torch.randn(96, 4), torch.randint(0, 2, (96,))
    >>> def repeated(lr):
    ...     run = nbopt.Run(torch.nn.Linear(4, 2), (x[:64], y[:64]), (x[64:], y[64:]), lr=lr, batch_size=16, store=None)
    ...     run.step(8)
    ...     repeats = run.repeat(seeds=6)
    ...     repeats.wait()
    ...     return repeats
    >>> found = nbopt.compare(repeated(0.001), repeated(0.01))
    >>> found.names, len(found.one), found.low <= found.difference <= found.high
    (('lr 0.001', 'lr 0.01'), 6, True)
    """
    level = Float(0.95, low=0.8, high=0.999, gt=0.5, lt=1.0)
    level.name = "confidence"
    confidence = level.check(confidence)
    sides = [_find_side(one), _find_side(other)]
    pairs = _pair(*sides)
    everybody = [member for pair in pairs for member in pair]
    _check_alike(everybody, measure, sides)
    where, values = _read(everybody, measure, at)
    first, second = values[0::2], values[1::2]
    low, high, p = find_interval(first - second, confidence)
    seeds = [member.seed for member, _other in pairs]
    own = (seeds, first, second, float((first - second).mean()), low, high, confidence, p)
    return Comparison(_call(sides), measure, where, *own)


def find_interval(differences: Floats, confidence: float) -> tuple[float, float, float]:
    """Return the ends of the bootstrap interval of a mean, and p of the signed-rank test."""
    from scipy import stats

    if not np.ptp(differences):  # nothing to resample
        mean = float(differences[0])
        return mean, mean, 1.0 if not mean else float(stats.wilcoxon(differences).pvalue)
    generator = np.random.default_rng(0)
    found = stats.bootstrap(
        (differences,), np.mean, confidence_level=confidence, n_resamples=_RESAMPLES, random_state=generator
    )
    interval = found.confidence_interval
    return float(interval.low), float(interval.high), float(stats.wilcoxon(differences).pvalue)


def _find_side(given: Any) -> Population:
    if isinstance(given, Population):
        return given
    repeats = getattr(given, "repeats", None)
    if isinstance(repeats, Population):
        return repeats
    way = _("give what run.repeat(seeds=16) returned, or a run after that")
    raise InvalidHyperparam(_("{given} is not repeated under several seeds: {way}.", given=shorten(given), way=way))


def _pair(one: Population, other: Population) -> list[tuple[Member, Member]]:
    own = [{member.seed: member for member in side} for side in (one, other)]
    for side, found in zip((one, other), own, strict=True):
        if len(found) < len(side):
            raise ValueError(_("{name}: each member must have a seed of its own.", name=side.name))
    if missing := sorted(own[0].keys() ^ own[1].keys()):
        told = ", ".join(map(str, missing[:5])) + (", ..." if len(missing) > 5 else "")
        way = _("repeat both with the same seeds")
        raise ValueError(
            _("the two were not done under the same seeds ({told} on one side only): {way}.", told=told, way=way)
        )
    if len(own[0]) < LEAST:
        rule = _("at least {least} seeds are needed, as with fewer nothing can be shown at 95 %", least=LEAST)
        raise ValueError(_("{rule}; got {count}.", rule=rule, count=len(own[0])))
    return [(own[0][seed], own[1][seed]) for seed in sorted(own[0])]


def _check_alike(members: Sequence[Member], measure: str, sides: Sequence[Population]) -> None:
    """Raise ValueError where members have not ended well, or did not measure the same thing."""
    for member in members:
        if member.error is not None:
            raise ValueError(_("{name} failed: {error}.", name=member.name, error=member.error))
    if any(side.puller.thread is not None for side in sides):
        raise ValueError(_("they train still: wait for them first, repeats.wait()."))
    known = [name for name in members[0].history.names if name.startswith("val_")]
    if not known:
        raise ValueError(_("nothing was validated, and there is nothing to compare: give the runs a val."))
    if measure not in known:
        raise unknown(_("measurement of a validation"), measure, known)
    val = [describe_data(member.training.cursor.source, member.training.val)["val"] for member in members]
    if any(data != val[0] for data in val):
        raise ValueError(_("they were validated on other data, and are not to be compared: give both the same val."))
    if _is_loss(measure) and len({repr(_tell_loss(member)) for member in members}) > 1:
        rule = _("their losses are not the same, and {measure} is no measure for both", measure=measure)
        raise ValueError(_('{rule}: compare by a metric, measure="val_accuracy" for example.', rule=rule))


def _tell_loss(member: Member) -> Any:
    loss = member.training.loss
    return type(loss).__name__, {
        name: member.hyperparams[name] for name in loss.declared() if name not in loss.training_only
    }


def _read(members: Sequence[Member], measure: str, at: int | str) -> tuple[int | str, Floats]:
    """Return after which step, and the value of each member there."""
    series = [member.history[measure] for member in members]
    if at == "best":
        if not _is_loss(measure):
            raise ValueError(_('at="best" goes by a loss, the lowest; give {measure} a step.', measure=measure))
        if len({member.until for member in members}) > 1:
            raise ValueError(_("the two did not train for as many steps: a longer one has more tries."))
        values = [float(np.nanmin(values)) if len(values) else math.nan for _steps, values in series]
    else:
        if at == "end":
            ends = {int(steps[-1]) if len(steps) else 0 for steps, _values in series}
            if len(ends) > 1:
                told = ", ".join(map(str, sorted(ends)[:4])) + (", ..." if len(ends) > 4 else "")
                way = _('give at=, a step that all have measured, or at="best"')
                raise ValueError(
                    _("the last validations are not of the same step ({told}): {way}.", told=told, way=way)
                )
            (at,) = ends
        if isinstance(at, bool) or not isinstance(at, int):
            raise InvalidHyperparam(_('at must be a step, "end" or "best"; got {at}.', at=shorten(at)))
        values = [next((float(v) for s, v in zip(*one, strict=True) if s == at), math.nan) for one in series]
    for member, value in zip(members, values, strict=True):
        if not math.isfinite(value):
            text = _("{name} has no number for {measure} at {at}.", name=member.name, measure=measure, at=at)
            raise ValueError(text)
    found = np.array(values, np.float64)
    if all(np.ptp(side) <= _ROUNDING * np.abs(side).max() for side in (found[0::2], found[1::2])):
        raise ValueError(_("the seeds made no difference on either side: nothing in these runs is drawn by them."))
    return at, found


def _call(sides: Sequence[Population]) -> tuple[str, str]:
    """Return what the two sides are called."""
    one, other = (side[0].hyperparams for side in sides)
    differ = [name for name in one if name not in other or one[name] != other[name]]
    if not 0 < len(differ) <= _NAMED:
        return sides[0].name, sides[1].name

    def told(values: Any) -> str:
        return ", ".join(f"{name} {number(values[name])}" for name in differ if name in values)

    return told(one), told(other)


def _is_loss(measure: str) -> bool:
    return measure == "loss" or measure.endswith("_loss")
