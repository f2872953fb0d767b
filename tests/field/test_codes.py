"""Codes as their authors write them: a run does what their loops do."""

import pytest

from tests.field import digits, harness, images, series

CODES = [
    *(digits.Mnist, digits.MnistRnn, digits.VaeCode, digits.SuperResolution),
    *(series.TimeSequence, series.Regression, series.TcnAdding, series.Pinn),
    *(images.UNetCode, images.SimClr, images.ViTCode, images.Detection),
]

pytestmark = [
    pytest.mark.usefixtures("one_torch_thread"),
    pytest.mark.parametrize("code", CODES, ids=[code.__name__ for code in CODES]),
]


def test_a_run_does_what_the_authors_loop_does(code):
    assert harness.does_as_the_loop(code)
    loop, run = harness.plain(code), harness.trained(code)
    if loop.val_losses:
        assert run.history["val_loss"][1].tolist() == pytest.approx(loop.val_losses, rel=1e-6)


def test_its_past_is_what_the_loop_was(code):
    found = harness.past_is_exact(code)
    assert all(found.values()), found


def test_its_script_ends_as_the_run(code):
    assert harness.script_ends_alike(code)
