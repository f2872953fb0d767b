"""What tests of several layers share."""

import functools
import gc
import os
import shutil
import sys
import tempfile

import pytest
from hypothesis import settings

from tests.kernels import STAY_EAGER
from tests.tries import FACTOR

settings.register_profile("nbopt", deadline=None, derandomize=FACTOR == 1, max_examples=50 * FACTOR)
settings.load_profile("nbopt")


def pytest_configure(config):
    """Keep the runs of tests and notebooks out of the working directory, and the garbage collector out of imports.

    Where several processes test side by side, each has its share of the cores, and so have the kernels it starts:
    torch's threads wait for each other, and where there are more of them than cores, they wait long.
    """
    gc.disable()
    config.stash[_BEFORE] = os.environ.get("NBOPT_HOME")
    os.environ["NBOPT_HOME"] = tempfile.mkdtemp(prefix="nbopt-runs-")
    if processes := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(processes))))


def pytest_make_parametrize_id(val):
    """Name a loss in a test's name as people write it."""
    if isinstance(val, functools.partial):
        return f"partial({val.func.__name__})"
    if type(val).__module__.startswith("torch.nn.modules."):
        return type(val).__name__
    return None


def pytest_collection_modifyitems(items):
    """Refuse names of tests that hold an address: the processes that share the tests would not agree on them.

    Where processes share them, what takes longest comes first, so that none is still at it when the others have nothing
    left to do.
    """
    for item in items:
        if " at 0x" in item.nodeid:
            raise pytest.UsageError(f"{item.nodeid}: give this parameter an id that is the same in each process.")
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: not item.nodeid.startswith(_LONGEST))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish():
    """Have no run compile because a busy machine makes it long: that is news, holds the run, and takes a core.

    The garbage collector looks at what tests make, and seldom: not at modules, which stay until the end. Nor does who
    looks for schedulers; so what torch's first optimizer would import is there before.
    """
    if "nbopt.training.step.mode" in sys.modules:
        import torch._dynamo  # noqa: F401

        exec(STAY_EAGER, {})
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)
    gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item, nextitem):
    """Leave to themselves what tests loaded, too, once it is much: a full look at it takes a second."""
    if nextitem is not None and nextitem.path != item.path and len(gc.get_objects(generation=2)) > _MANY_OBJECTS:
        gc.collect()
        gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Hand out files in this order, and all tests with a browser to one process: one browser, one JupyterLab."""
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid):
            return "tests/browser" if nodeid.startswith("tests/browser/") else super()._split_scope(nodeid)

    config.option.loadscopereorder = False
    return ByFile(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_unconfigure(config):
    shutil.rmtree(os.environ.pop("NBOPT_HOME"), ignore_errors=True)
    if config.stash[_BEFORE] is not None:
        os.environ["NBOPT_HOME"] = config.stash[_BEFORE]


_BEFORE = pytest.StashKey()
_MANY_OBJECTS = 50_000
_LONGEST = ("tests/browser/", "tests/test_notebooks.py")


@pytest.fixture(scope="module")
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
