"""Small models and data, and runs that are stopped when their test is over."""

import contextlib

import pytest
import torch
from torch import nn

from nbopt import Run


@pytest.fixture(autouse=True)
def _one_torch_thread(one_torch_thread):
    """Every test here trains on one thread."""


@pytest.fixture(scope="session")
def blobs():
    """Return 60 samples of three classes that a line can tell apart."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(60) % 3
    x = torch.randn(60, 4, generator=generator) + 3 * nn.functional.one_hot(y, 4)
    return x, y


@pytest.fixture
def mlp():
    """Return a maker of a model for `blobs`, always with the same weights."""

    def make(dropout=0.0, seed=0):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, 3))

    return make


@pytest.fixture
def make_run(mlp, blobs):
    """Return a maker of runs: of `mlp` over `blobs` where nothing else is given."""
    runs = []

    def make(model=None, train=blobs, **settings):
        run = Run(mlp() if model is None else model, train, **settings)
        runs.append(run)
        return run

    yield make
    for run in runs:
        with contextlib.suppress(Exception):
            run.stop()


@pytest.fixture
def weights():
    """Return a function that copies a run's weights into one vector."""
    return lambda run: torch.cat([value.detach().flatten().clone() for value in run.model.state_dict().values()])
