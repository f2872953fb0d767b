"""Steps done again are held against what the history told of them: what differs is said, what does not is not."""

from __future__ import annotations

import secrets

import pytest
import torch
from torch import nn

import nbopt
from nbopt import RunState
from tests.run.exactness.telling import SECONDS, jitter, tells

# -- what differs is said


def test_a_rewind_that_is_not_exact_is_told_with_the_step_and_both_values(make_run, no_snapshots, said):
    run = make_run(forward=jitter(), batch_size=20)
    run.step(9)
    before = run.history["loss"][1].copy()
    assert (run.exact, run.exactness) == (None, "")
    run.rewind(6)
    [entry] = tells(run)
    first = entry.new["step"]
    assert entry.new["name"] == "loss"
    assert entry.new["old"] == before[first]
    assert entry.new["new"] == run.history["loss"][1][first] != before[first]
    assert (run.exact, run.step_count, run.state) == (False, 6, RunState.PAUSED)
    assert run.exactness == f"not exact: {entry.new['reason']}"
    assert f"step {first} was done again, and its loss is" in entry.new["reason"]
    assert [str(each.message) for each in said if "not exact" in str(each.message)] != []
    run.step(3)
    assert run.step_count == 9
    assert len(tells(run)) == 1


@pytest.mark.parametrize("how", ["branch", "replay"])
def test_another_run_that_is_not_exact_tells_it_itself(make_run, weights, no_snapshots, how):
    run = make_run(forward=jitter(), batch_size=20)
    run.step(9)
    before, entries = weights(run), len(run.journal)
    twin = run.branch(at=6) if how == "branch" else run.replay()
    if how == "replay":
        twin.wait(SECONDS)
    assert len(tells(twin)) == 1
    assert twin.exact is False
    assert run.exact is None
    assert len(run.journal) == entries
    assert torch.equal(weights(run), before)


def test_a_run_that_goes_on_from_a_snapshot_is_compared_with_the_future_it_gave_up(make_run):
    run = make_run(forward=jitter(), batch_size=20)
    run.step(4)
    run.set(lr=0.01)  # a snapshot is taken here
    run.step(4)
    run.rewind(4)
    assert run.exact is None  # nothing was done again yet
    run.step(1)  # at the earlier rate, which acts on the step's weights alone
    assert run.exact is False
    assert tells(run)[0].new["step"] == 4


@pytest.mark.parametrize("how", ["rewind", "branch"])
def test_another_rate_under_a_schedule_is_no_step_done_otherwise(make_run, how):
    run = make_run(batch_size=20, schedule="cosine", epochs=9)
    run.step(6)
    if how == "branch":
        run = run.branch(at=2)
    else:
        run.rewind(2)
    run.set(lr=0.01)  # and so the curve of the rate is another one from this step on
    run.step(3)
    assert run.exact is not False and not tells(run)
    assert run.history["lr"][1][2] > 0.009


def test_a_validation_that_differs_is_told(make_run, mlp, no_snapshots):
    class Restless(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = mlp()

        def forward(self, x):
            return self.inner(x) if self.training else self.inner(x) * secrets.randbelow(1000)

    run = make_run(Restless(), val=0.2, batch_size=24)
    run.step(7)
    again = run.replay()
    again.wait(SECONDS)
    [entry] = tells(again)
    assert entry.new["name"] == "val_loss"
    assert "random numbers that no seed repeats (secrets)" in entry.new["reason"]


def test_an_opened_run_tells_and_goes_on_telling(make_run, mlp, blobs, no_snapshots, tmp_path):
    run = make_run(forward=jitter(), batch_size=20, store=tmp_path)
    run.step(9)
    run.recorder.close()
    opened = nbopt.open(run.id, mlp(), blobs, forward=jitter(0.1), store=tmp_path)
    assert (opened.exact, opened.step_count) == (False, 9)
    again = nbopt.open(run.id, mlp(), blobs, forward=jitter(), store=tmp_path)
    assert again.exact is False  # what was seen once is a fact of the run
