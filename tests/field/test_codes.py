"""Codes as their authors write them: a run does what their loops do.

Those of libraries that are not installed are skipped; ``make field`` installs them.
"""

import pytest

from tests.field import harness
from tests.field.codes import LIBRARIES, PLAIN, of_library

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture(params=[*PLAIN, *LIBRARIES], ids=lambda code: getattr(code, "__name__", code))
def code(request):
    if request.param in PLAIN:
        return request.param
    pytest.importorskip(f"tests.field.libraries.{LIBRARIES[request.param]}")
    return of_library(request.param)


def test_a_run_does_what_the_authors_loop_does(code):
    assert harness.does_as_the_loop(code)
    loop, run = harness.plain(code), harness.trained(code)
    if loop.val_losses:
        assert run.history["val_loss"][1].tolist() == pytest.approx(loop.val_losses, rel=1e-6)


def test_its_past_is_what_the_loop_was(code):
    found = harness.past_is_exact(code)
    assert all(found.values()), found


def test_its_script_ends_as_the_run_or_is_refused_in_words(code):
    if not code.unwritten:
        assert harness.script_ends_alike(code)
        return
    with pytest.raises(ValueError, match=code.unwritten):
        harness.trained(code).to_python()
