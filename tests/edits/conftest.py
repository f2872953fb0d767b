"""Small models and data, and runs that are stopped when their test is over: see `tests.runs`."""

import pytest

from tests.edits.nets import NETS, zero
from tests.runs import _one_torch_thread, blobs, compiled, make_run, make_tiered, mlp, weights

__all__ = ["_one_torch_thread", "blobs", "compiled", "make_run", "make_tiered", "mlp", "weights"]


@pytest.fixture
def make_net(make_run):
    """Return a maker of runs without an end, by the name of one of ten architectures."""

    def made(name, zeros=False, **settings):
        model, data = NETS[name]()
        if zeros:
            zero(model, name)
        return make_run(model, data, **{"epochs": 10**6, "batch_size": 20, "store": None, **settings})

    return made
