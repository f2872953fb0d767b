"""What tests with images share."""

import pytest
import torch

from nbopt import Run
from tests.techniques.images import BATCH, SAMPLES, net


@pytest.fixture(scope="session")
def images():
    """Return images of three channels, in three classes."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(SAMPLES, 3, 8, 8, generator=generator), torch.arange(SAMPLES) % 3


@pytest.fixture
def make(images):
    """Return a maker of runs that leave nothing behind."""

    def made(model=None, data=images, **settings):
        given = {"lr": 0.05, "batch_size": BATCH, "epochs": 10**6, "device": "cpu", "store": None, **settings}
        return Run(net() if model is None else model, data, **given)

    return made
