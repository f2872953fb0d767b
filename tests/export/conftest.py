"""Small models and data, and runs that are stopped when their test is over: see `tests.runs`."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.runs import _one_torch_thread, blobs, compiled, make_run, make_tiered, mlp, weights

__all__ = ["_one_torch_thread", "blobs", "compiled", "make_run", "make_tiered", "mlp", "weights"]


@pytest.fixture(scope="module")
def line():
    """Return 48 samples of a noisy plane, in float64, as numpy arrays."""
    random = np.random.default_rng(0)
    x = random.normal(size=(48, 4))
    return x, x @ np.array([1.0, -2.0, 0.5, 0.0]) + 0.1 * random.normal(size=48)


@pytest.fixture
def regressor():
    """Return a model for `line`."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
