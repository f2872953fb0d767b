"""What runs on a GPU only. ``make gpu`` calls these with a plain ``python3`` that has torch and pytest, and no Jupyter.

To try the tests themselves where there is none, ``NBOPT_TEST_DEVICE=cpu`` runs on the CPU those that need no CUDA.
"""

import contextlib
import os

import pytest
import torch
from torch import nn

from nbopt import Run

DEVICE = os.environ.get("NBOPT_TEST_DEVICE", "cuda")


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.parent.name != "gpu":
            continue
        item.add_marker(pytest.mark.gpu)
        if DEVICE == "cuda" and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))
        elif DEVICE != "cuda" and "cuda_only" in item.fixturenames:
            item.add_marker(pytest.mark.skip(reason="needs CUDA"))


@pytest.fixture
def cuda_only():
    """Ask for what only CUDA has; the test is left out elsewhere."""


@pytest.fixture(autouse=True)
def deterministic():
    """Let cuBLAS and cuDNN do the same sums in the same order each time."""
    before = torch.are_deterministic_algorithms_enabled()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(before)


@pytest.fixture
def device():
    return torch.device(DEVICE)


@pytest.fixture
def data():
    """Return 640 samples of ten classes, on the CPU."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(640) % 10
    return torch.randn(640, 32, generator=generator) + 2 * nn.functional.one_hot(y, 32), y


@pytest.fixture
def net():
    """Return a maker of a model for `data`, always with the same weights."""

    def make(dropout=0.0):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Dropout(dropout), nn.Linear(64, 10))

    return make


@pytest.fixture
def make_run(net, data, device):
    """Return a maker of runs on the device: of `net` over `data` where nothing else is given."""
    runs = []

    def make(model=None, train=data, **settings):
        settings = {"optimizer": "adam", "lr": 1e-3, "epochs": 10**6, "store": None, "device": device, **settings}
        runs.append(Run(net() if model is None else model, train, **settings))
        return runs[-1]

    yield make
    for run in runs:
        with contextlib.suppress(Exception):
            run.stop()


@pytest.fixture
def weights():
    """Return a function that copies a run's weights into one vector."""
    return lambda run: torch.cat([value.detach().flatten().clone() for value in run.model.state_dict().values()])
