"""Loss surfaces: their lowest point is where they say, and their picture is the right way up."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nbopt.viz.surfaces import SIDE, SURFACES, relief


@pytest.fixture(params=SURFACES)
def surface(request):
    return SURFACES[request.param]


def test_the_lowest_point_is_0_and_nothing_is_below(surface):
    x, y = (torch.tensor(at, dtype=torch.float64) for at in surface.lowest)
    assert float(surface.loss(x, y)) == pytest.approx(0.0, abs=1e-12)
    left, right, bottom, top = surface.reach
    places = torch.rand(2, 10_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert (surface.loss(left + places[0] * (right - left), bottom + places[1] * (top - bottom)) >= 0).all()


def test_start_and_lowest_point_are_in_the_picture(surface):
    left, right, bottom, top = surface.reach
    for x, y in (surface.start, surface.lowest):
        assert left < x < right and bottom < y < top


def test_the_relief_is_lowest_where_the_surface_is(surface):
    picture = relief(surface)
    assert picture.shape == (SIDE, SIDE) and picture.min() == 0 and picture.max() == 65535
    row, column = np.unravel_index(picture.argmin(), picture.shape)
    left, right, bottom, top = surface.reach
    at = np.array([left + column / (SIDE - 1) * (right - left), top - row / (SIDE - 1) * (top - bottom)])
    x, y = torch.tensor(at)
    pixel = max(right - left, top - bottom) / (SIDE - 1)
    assert np.abs(at - surface.lowest).max() < 2 * pixel or float(surface.loss(x, y)) < 0.01
