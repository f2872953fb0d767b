"""What tests of the store share."""

import shutil

import pytest
import torch
from torch import nn

import nbopt
from tests.store.runs_of import FOREVER, X
from tests.store.spoiling import make_example


@pytest.fixture(autouse=True)
def _one_thread(one_torch_thread):
    """Every test here trains on one thread."""


@pytest.fixture
def make_run(tmp_path):
    runs = []

    def make(**settings):
        given = {"val": (X, X**2), "loss": "mse", "epochs": FOREVER, "batch_size": 20, "store": tmp_path / "store"}
        torch.manual_seed(0)
        runs.append(nbopt.Run(nn.Linear(1, 1), (X, X**2), **{**given, **settings}))
        return runs[-1]

    yield make
    for run in runs:
        run.stop()


@pytest.fixture(scope="session")
def example(tmp_path_factory):
    """Return a store with two runs that nobody holds, and beside it what belongs to the user."""
    return make_example(tmp_path_factory.mktemp("spoilt"))


@pytest.fixture
def folder(example, tmp_path):
    """Return a copy of it."""
    shutil.copytree(example.parent, tmp_path / "project", ignore=shutil.ignore_patterns("locks"))
    return tmp_path / "project" / ".nbopt"
