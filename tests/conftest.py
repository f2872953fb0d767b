"""What tests of several layers share."""

import sys

import pytest
from hypothesis import settings

settings.register_profile("nbopt", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("nbopt")


@pytest.fixture
def one_torch_thread():
    """Train on one thread: the small models of the tests are as fast so, and leave the other cores alone."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def restless_threads():
    """Let Python switch threads a thousand times as often, so that a race shows itself."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(before)
