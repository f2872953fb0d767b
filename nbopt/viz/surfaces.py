"""Loss surfaces over two parameters, on which optimizers show their ways."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nbopt.i18n import N_

SIDE = 120
"""Points along each side of a picture."""


class Surface(NamedTuple):
    """A loss of two parameters.

    Attributes
    ----------
    label : str
    loss : callable
        ``loss(x, y)``, for tensors of any one shape; 0 at its lowest.
    reach : (left, right, bottom, top)
        The part to look at.
    start, lowest : (x, y)
        Where the optimizers set out, and what they look for.
    """

    label: str
    loss: Callable[[Tensor, Tensor], Tensor]
    reach: tuple[float, float, float, float]
    start: tuple[float, float]
    lowest: tuple[float, float]


def _bowl(x: Tensor, y: Tensor) -> Tensor:
    return 0.5 * (x.square() + 25 * y.square())


def _rosenbrock(x: Tensor, y: Tensor) -> Tensor:
    return (1 - x).square() + 100 * (y - x.square()).square()


def _beale(x: Tensor, y: Tensor) -> Tensor:
    terms = ((1.5, y), (2.25, y.square()), (2.625, y**3))
    return torch.stack([(c - x + x * power).square() for c, power in terms]).sum(0)


SURFACES = {
    "bowl": Surface(N_("Long bowl"), _bowl, (-5.0, 5.0, -3.0, 3.0), (-4.5, 2.0), (0.0, 0.0)),
    "beale": Surface(N_("Beale's function"), _beale, (-0.5, 4.5, -1.5, 2.0), (1.0, 1.5), (3.0, 0.5)),
    "rosenbrock": Surface(N_("Rosenbrock's valley"), _rosenbrock, (-2.0, 2.0, -1.0, 3.0), (-1.4, 2.4), (1.0, 1.0)),
}
"""Beale (1958) and Rosenbrock (1960), as every collection of test functions has them."""


def relief(surface: Surface) -> NDArray[np.uint16]:
    """Return the surface's height, shape (SIDE, SIDE), from the top left corner row by row.

    On a logarithmic scale, for the valleys of these functions are a thousand times lower than their slopes: 0 is the
    lowest and 65,535 the highest point of the picture. Of what is nearly as low as the lowest it tells little: there, a
    valley is narrower than the points are apart, and contour lines would be islands.
    """
    left, right, bottom, top = surface.reach
    y, x = torch.meshgrid(torch.linspace(top, bottom, SIDE), torch.linspace(left, right, SIDE), indexing="ij")
    height = torch.log10(surface.loss(x, y) + 1e-1)
    height = (height - height.min()) / (height.max() - height.min())
    return (65535 * height).numpy().round().astype(np.uint16)
