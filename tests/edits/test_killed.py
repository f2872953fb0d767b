"""`kill -9` of a run with any edit, or anything that compresses: opened again, it goes on as if nothing had been."""

import signal

import pytest

import nbopt
from nbopt.edits import Fuse
from tests import zygote
from tests.edits.killed import AT, DONE, EDITS, SETTINGS, make
from tests.edits.nets import NETS
from tests.training.edited import edits, losses, same

pytestmark = [pytest.mark.usefixtures("one_torch_thread"), pytest.mark.timeout(400)]
KILLED = """
import os, signal, sys
from tests.edits import killed
killed.main(sys.argv[1])
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def left(tmp_path_factory):
    """Return the store of a process that was killed, and its runs by name."""
    store = tmp_path_factory.mktemp("killed")
    killed = zygote.run(KILLED, store)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    return store, dict(zip((*EDITS, *SETTINGS), killed.stdout.split(), strict=True))


@pytest.mark.parametrize("name", [*EDITS, *SETTINGS])
def test_it_goes_on_to_the_bit(left, name):
    store, runs = left
    model, data = NETS["batch norm"]()
    edit = EDITS.get(name)
    given = {"edits": edit} if isinstance(edit, Fuse) else {}
    opened = nbopt.open(runs[name], model, data, data, store=store, device="cpu", **given)
    unbroken = make(name, None)
    for run in (opened, unbroken):
        run.step(DONE + 4 - run.step_count)
    assert same(opened, unbroken) and losses(opened) == losses(unbroken) and opened.exact is not False
    assert [entry.new for entry in edits(opened)] == [entry.new for entry in edits(unbroken)]
    for run in (opened, unbroken):
        run.rewind(AT - 1)
        assert len(run.model.state_dict()) == len(model.state_dict())
    assert same(opened, unbroken)
