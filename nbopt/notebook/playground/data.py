"""Two classes of points in the plane, made on the spot."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbopt.i18n import N_

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]
_Clean = NDArray[np.float64]

REACH = 1.6
"""The plane is looked at from -REACH to REACH, both ways."""
VALIDATION = 150
"""Points that are not trained on."""

_TURN = 2 * np.pi


class Points(NamedTuple):
    """A data set.

    Attributes
    ----------
    x, y : ndarray, shapes (n, 2) and (n,)
        Places and classes, 0 or 1, to train on.
    x_val, y_val : ndarray
        The same, to judge by.
    """

    x: Floats
    y: Labels
    x_val: Floats
    y_val: Labels


def _moons(side: Labels, rng: np.random.Generator) -> _Clean:
    angle = rng.uniform(0, _TURN / 2, len(side))
    upper = np.stack([np.cos(angle) - 0.5, np.sin(angle) - 0.25], 1)
    moons: _Clean = np.where(side[:, None] == 0, 0.85, -0.85) * upper
    return moons


def _circles(side: Labels, rng: np.random.Generator) -> _Clean:
    angle, radius = rng.uniform(0, _TURN, len(side)), np.where(side == 0, 1.15, 0.5)
    around: _Clean = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
    return around


def _spiral(side: Labels, rng: np.random.Generator) -> _Clean:
    along = np.sqrt(rng.uniform(0.01, 1, len(side)))
    angle = 1.6 * _TURN * along + np.pi * side
    spiral: _Clean = np.stack([along * np.cos(angle), along * np.sin(angle)], 1)
    return 1.35 * spiral


def _xor(side: Labels, rng: np.random.Generator) -> _Clean:
    x = rng.uniform(0.12, 1.25, (len(side), 2))
    x[:, 0] *= rng.choice([-1, 1], len(side))
    x[:, 1] *= np.where(side == 0, -1, 1) * np.sign(x[:, 0])
    return x


def _blobs(side: Labels, rng: np.random.Generator) -> _Clean:
    return np.where(side[:, None] == 0, -0.65, 0.65) + 0.15 * rng.standard_normal((len(side), 2))


_MAKERS: dict[str, Callable[[Labels, np.random.Generator], _Clean]] = {
    "moons": _moons,
    "circles": _circles,
    "spiral": _spiral,
    "xor": _xor,
    "blobs": _blobs,
}
KINDS = {
    "moons": N_("Moons"),
    "circles": N_("Circles"),
    "spiral": N_("Spiral"),
    "xor": N_("Xor"),
    "blobs": N_("Blobs"),
}
"""The data sets, with what a person reads."""


def make_points(kind: str, samples: int, noise: float, seed: int) -> Points:
    """Draw points of both classes in equal parts; the same arguments give the same points.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    samples : int
        Points to train on.
    noise : float
        Standard deviation of what is added to each place; the plane is about 3 across.
    seed : int
    """
    rng = np.random.default_rng(seed)
    side = np.arange(samples + VALIDATION) % 2
    places = _MAKERS[kind](side, rng) + noise * rng.standard_normal((len(side), 2))
    inside: Floats = places.clip(-REACH, REACH).astype(np.float32)
    return Points(inside[:samples], side[:samples], inside[samples:], side[samples:])
