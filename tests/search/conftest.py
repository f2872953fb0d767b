import pytest
import torch

import nbopt


@pytest.fixture(autouse=True)
def _one_thread(one_torch_thread):
    pass


@pytest.fixture(scope="session")
def blobs():
    """Samples of two classes that a line nearly tells apart."""
    made = torch.Generator().manual_seed(3)
    x = torch.randn(192, 4, generator=made)
    return x, (x[:, 0] + 0.5 * x[:, 1] > 0.2).long()


@pytest.fixture
def make(blobs):
    """Return a study of a small model, of as few trials as a test needs."""

    def make_study(build=None, **given):
        torch.manual_seed(0)
        build = torch.nn.Linear(4, 2) if build is None else build
        settings = {"space": ["lr"], "epochs": 2, "batch_size": 32, "trials": 3, "store": None, "executor": "inline"}
        settings |= given
        if "batch_size" in (settings["space"] or ()):
            del settings["batch_size"]
        val = None if "cv" in given else 0.25
        return nbopt.Study(build, blobs, val, **settings)

    return make_study
