"""Small models and data, and runs that are stopped when their test is over: see `tests.runs`."""

import pytest
import torch

from tests.runs import _one_torch_thread, blobs, compiled, make_run, make_tiered, mlp, weights
from tests.training.edited import net

__all__ = ["_one_torch_thread", "blobs", "compiled", "make_run", "make_tiered", "mlp", "weights"]


@pytest.fixture
def make(make_run, blobs):
    """Return a maker of runs without an end, of a net that edits are made of."""

    def made(model=None, **settings):
        given = {"epochs": 10**6, "batch_size": 20, "store": None, **settings}
        return make_run(net() if model is None else model, **given)

    return made


@pytest.fixture
def numbers():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(256, 4, generator=generator), torch.randn(256, generator=generator)
