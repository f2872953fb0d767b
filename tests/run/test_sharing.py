"""Two runs on one model: the second one says so when it starts."""

import copy
import warnings

import pytest
from torch import nn

from nbopt.notebook.panel.messages import cautions


@pytest.fixture
def begun(make_run, mlp):
    """Return a run in the middle of its training."""
    run = make_run(mlp(0.0), name="<first>", store=None)
    run.step(3)
    return run


def test_the_second_run_on_a_model_says_so_when_it_starts(make_run, begun):
    second = make_run(begun.model, store=None)
    assert second.caution == ""
    with pytest.warns(UserWarning, match="run <first> .paused at step 3. trains weights of the same model"):
        second.step(1)
    assert second.journal[0].name == "note" and "copy.deepcopy" in second.journal[0].new
    assert "&lt;first&gt; (paused at step 3)" in cautions(second)[0].said
    assert begun.caution == ""


def test_a_run_that_shares_a_part_of_the_model_says_so_too(make_run, begun):
    with pytest.warns(UserWarning, match="trains weights of the same model"):
        make_run(nn.Sequential(begun.model, nn.ReLU()), store=None).step(1)


@pytest.mark.parametrize("way", ["copy", "ended", "branch", "sweep"])
def test_runs_that_do_not_disturb_each_other_are_silent(make_run, begun, way):
    if way == "ended":
        begun.stop()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if way == "branch":
            second = begun.branch(at=2)
            second.step(1)
        elif way == "sweep":
            begun.find_lr(1e-5, 1e-2, 10)
            second = begun
        else:
            second = make_run(copy.deepcopy(begun.model) if way == "copy" else begun.model, store=None)
            second.step(1)
    assert second.caution == ""
