"""A run at a speed that a person can follow: it waits between two steps, and listens meanwhile."""

import math
import time

import pytest
import torch

from nbopt import RunState
from nbopt.errors import InvalidHyperparam
from tests.run.plain_loop import Attached
from tests.waiting import eventually

NEVER = 1e-4  # steps a second: the second step would come in three hours


def test_steps_wait_for_their_time(make_run):
    run = make_run(epochs=10**6, store=None)
    run.speed = 200
    began = time.perf_counter()
    run.start()
    eventually(lambda: run.step_count >= 40)
    assert time.perf_counter() - began >= 39 / 200


def test_while_it_waits_it_takes_changes_visits_and_pauses(make_run, blobs):
    run = make_run(epochs=10**6, val=0.2, store=None)
    run.speed = NEVER
    run.start()
    run.set(lr=0.5)
    eventually(lambda: not run.pending)
    assert run.step_count == 1 and run.optimizer.param_groups[0]["lr"] == 0.5
    assert run.predict(blobs[0]).shape == (60, 3)
    run.pause()
    assert run.state is RunState.PAUSED and run.step_count == 1
    run.step(30)  # asked for by their number
    assert run.step_count == 31
    run.start()
    eventually(lambda: run.step_count == 32)
    run.rewind(5)
    assert run.step_count == 5 and run.exact
    run.stop()
    assert run.state is RunState.STOPPED


def test_a_run_that_waits_is_let_go_by_a_step_asked_for_and_by_another_speed(make_run):
    run = make_run(epochs=10**6, store=None)
    run.speed = NEVER
    run.start()
    run.step(3)
    assert run.step_count == 4 and run.state is RunState.PAUSED
    run.start()
    eventually(lambda: run.step_count == 5)
    run.speed = 1e6
    eventually(lambda: run.step_count > 100)


def test_the_end_is_not_waited_for(make_run, blobs):
    run = make_run(epochs=1, batch_size=60, val=blobs, store=None)
    run.speed = NEVER
    assert run.fit().state is RunState.FINISHED  # the only step, and its validation


def test_the_journal_and_the_numbers_are_the_same_at_any_speed(make_run, weights):
    free, held = (make_run(epochs=4, batch_size=20, val=0.2, dropout=0.3, store=None) for _run in range(2))
    held.speed = 1000
    for run in (free, held):
        run.fit()
    assert (weights(free) == weights(held)).all()
    assert [entry[:4] for entry in free.journal] == [entry[:4] for entry in held.journal]
    assert held.replay().speed is None
    held.replay().wait()


def test_a_branch_goes_at_the_speed_of_its_run(make_run):
    run = make_run(epochs=10**6, store=None)
    run.step(3)
    run.speed = 50
    assert run.branch(2).speed == 50


def test_compiled_steps_do_not_come_in_bursts(make_tiered, compiled):
    run = make_tiered()
    run.start()
    eventually(lambda: run.training.tiers.steps)
    run.speed = NEVER
    eventually(lambda: run.training.tiers.steps <= 1)  # machine code does one at a time, where a graph does several
    run.pause()
    eventually(lambda: run.state is RunState.PAUSED)
    before = run.step_count
    run.start()
    eventually(lambda: run.step_count == before + 1)
    run.set(lr=0.1)
    eventually(lambda: not run.pending)
    assert run.step_count == before + 1
    run.speed = None
    eventually(lambda: run.training.tiers.steps)


@pytest.mark.parametrize("speed", [0, -1, math.inf, math.nan, True, "10"])
def test_what_is_no_speed_is_refused(make_run, speed):
    run = make_run(store=None)
    with pytest.raises(InvalidHyperparam, match=r"positive number of steps a second.*run\.pause\(\)"):
        run.speed = speed
    assert run.speed is None


def test_a_loop_of_ones_own_has_no_speed():
    session = Attached(torch.optim.SGD(torch.nn.Linear(2, 2).parameters(), lr=0.1))
    with pytest.raises(NotImplementedError, match="cannot be asked to pace"):
        session.speed = 10
