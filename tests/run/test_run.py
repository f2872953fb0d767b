"""A run from outside: transport and states."""

import copy
import pickle
import threading

import numpy as np
import pytest
from torch.utils.data import DataLoader, TensorDataset

from nbopt import RunState
from nbopt.errors import InvalidHyperparam

FOREVER = 10**9


def events_of(run):
    return [entry.name for entry in run.journal if entry.kind == "event"]


def test_a_new_run_has_done_nothing(make_run):
    run = make_run(val=0.2)
    assert (run.state, run.step_count, run.epoch, run.progress, run.error) == (RunState.CREATED, 0, 0, 0.0, None)
    assert (run.optimizer, run.stopping, run.steps_per_second, run.seconds_left) == (None, None, None, None)
    assert len(run.journal) == len(run.history) == 0


@pytest.mark.parametrize("copied", [pickle.dumps, copy.deepcopy])
def test_a_run_says_what_to_do_in_the_place_of_pickling_it(make_run, copied):
    with pytest.raises(TypeError, match=r"a Run can be neither pickled nor copied: nbopt\.open"):
        copied(make_run())


def test_start_trains_in_the_background_to_the_end(make_run):
    found = set()

    def forward(model, batch):
        found.add(np.geterr()["divide"])
        return model(batch[0]), batch[1]

    run = make_run(epochs=3, batch_size=20, forward=forward)
    with np.errstate(divide="raise"):  # its thread is to have what a loop here would have
        run.start()
    assert run.wait(60) is RunState.FINISHED
    assert (run.step_count, run.epoch, run.end_reason) == (9, 3, "all 3 epochs done")
    assert events_of(run) == ["start", "finished"] and found == {"raise"}
    assert run.history["loss"][0].tolist() == list(range(9))


def test_pause_and_resume(make_run):
    run = make_run(epochs=FOREVER)
    run.start()
    run.pause()
    assert run.state is RunState.PAUSED
    steps = run.step_count
    assert steps >= 1
    assert len(run.history["loss"][1]) == steps
    run.resume()
    assert run.state is RunState.RUNNING
    run.pause()
    assert run.step_count > steps
    assert events_of(run) == ["start", "pause", "resume", "pause"]


def test_step_does_so_many_steps_and_pauses(make_run):
    run = make_run(batch_size=20, epochs=FOREVER)
    run.step()
    assert (run.step_count, run.state) == (1, RunState.PAUSED)
    run.step(5)
    assert (run.step_count, run.state) == (6, RunState.PAUSED)
    assert events_of(run) == ["step", "pause", "step", "pause"]


@pytest.mark.parametrize("n", [0, -1, 1.5, "2", True])
def test_step_needs_a_whole_number_of_at_least_one(make_run, n):
    with pytest.raises(InvalidHyperparam, match="n must be a whole number at least 1"):
        make_run().step(n)


def test_a_step_that_completes_an_epoch_sees_its_validation_through(make_run, blobs):
    run = make_run(val=blobs, batch_size=30, epochs=5)
    run.step(2)
    assert run.history["val_loss"][0].tolist() == [2]


def test_a_run_stepped_to_its_end_is_finished(make_run, blobs):
    run = make_run(val=blobs, batch_size=30, epochs=2)
    run.step(4)
    assert (run.state, run.end_reason) == (RunState.FINISHED, "all 2 epochs done")
    assert run.wait(0) is RunState.FINISHED


def test_stop_ends_a_running_run_where_it_is(make_run):
    run = make_run(epochs=FOREVER)
    run.start()
    run.stop()
    assert (run.state, run.end_reason) == (RunState.STOPPED, "stopped by hand")
    assert run.wait(0) is RunState.STOPPED


@pytest.mark.parametrize("before", ["created", "paused"])
def test_stop_works_at_rest(make_run, before):
    run = make_run(epochs=FOREVER)
    if before == "paused":
        run.step()
    run.stop()
    assert run.state is RunState.STOPPED
    run.stop()
    assert events_of(run)[-2:] == (["pause", "stopped"] if before == "paused" else ["stopped"])


def test_a_stopped_run_can_go_on(make_run):
    run = make_run(batch_size=20, epochs=2)
    run.step(2)
    run.stop()
    run.resume()
    assert run.wait(60) is RunState.FINISHED
    assert run.step_count == 6


def test_what_is_asked_of_a_run_that_has_ended_changes_nothing(make_run):
    run = make_run(epochs=1).fit()
    run.pause()
    run.stop()
    assert run.state is RunState.FINISHED
    with pytest.raises(RuntimeError, match=r"the run is complete \(all 1 epochs done\). Set epochs higher"):
        run.resume()
    with pytest.raises(RuntimeError, match="complete"):
        run.step()
    assert run.state is RunState.FINISHED


def test_a_finished_run_trains_further_with_more_epochs(make_run, blobs):
    run = make_run(val=blobs, epochs=1, batch_size=30).fit()
    run.set(epochs=3)
    run.resume()
    assert run.wait(60) is RunState.FINISHED
    assert (run.epoch, run.step_count) == (3, 6)
    assert run.history["val_loss"][0].tolist() == [2, 4, 6]


def test_start_on_a_running_run_does_nothing(make_run):
    run = make_run(epochs=FOREVER)
    run.start()
    run.start()
    run.resume()
    assert events_of(run) == ["start"]
    run.pause()


def test_start_during_a_step_lets_the_run_go_on(make_run):
    gate = threading.Event()

    def forward(model, batch):
        assert gate.wait(60)
        return model(batch[0]), batch[1]

    run = make_run(forward=forward, epochs=FOREVER)
    run.step(2, wait=False)
    run.start(wait=False)
    gate.set()
    while run.step_count < 5:
        pass
    assert run.state is RunState.RUNNING


def test_resume_while_a_pause_is_still_asked_for_takes_it_back(make_run):
    inside, gate = threading.Event(), threading.Event()

    def forward(model, batch):
        inside.set()
        assert gate.wait(60)
        return model(batch[0]), batch[1]

    run = make_run(forward=forward, epochs=FOREVER)
    run.start(wait=False)
    inside.wait(60)
    waiting = threading.Thread(target=run.pause)
    waiting.start()
    while run.worker._pulling.goal is RunState.RUNNING:
        pass
    run.resume(wait=False)
    gate.set()
    waiting.join(60)
    assert not waiting.is_alive()
    assert run.state is RunState.RUNNING


def test_a_pause_does_not_take_back_a_stop(make_run):
    inside, gate = threading.Event(), threading.Event()

    def forward(model, batch):
        inside.set()
        assert gate.wait(60)
        return model(batch[0]), batch[1]

    run = make_run(forward=forward, epochs=FOREVER)
    run.start(wait=False)
    inside.wait(60)
    run.stop(wait=False)
    run.pause(wait=False)
    gate.set()
    assert run.wait(60) is RunState.STOPPED


def test_wait_returns_the_state_after_its_time(make_run):
    run = make_run(epochs=FOREVER)
    run.start()
    assert run.wait(0.01) is RunState.RUNNING


def test_stop_does_not_wait_for_a_long_validation(make_run, blobs):
    validating = threading.Event()

    def forward(model, batch):
        if not model.training:
            validating.set()
        return model(batch[0]), batch[1]

    val = DataLoader(TensorDataset(*blobs), batch_sampler=[[0]] * 100_000)
    run = make_run(val=val, forward=forward, epochs=5)
    run.start(wait=False)
    validating.wait(60)
    run.stop()
    assert run.state is RunState.STOPPED
    assert "val_loss" not in run.history


def test_a_validation_cut_off_by_a_stop_is_done_again(make_run, blobs):
    seen = []

    def forward(model, batch):
        if not model.training:
            seen.append(len(batch[0]))
            if len(seen) == 2:
                run.stop(wait=False)
        return model(batch[0]), batch[1]

    val = DataLoader(TensorDataset(*blobs), batch_sampler=[[0, 1], [2, 3], [4]])
    run = make_run(val=val, forward=forward, epochs=1, metrics="accuracy")
    run.start()
    assert run.wait(60) is RunState.STOPPED
    run.resume()
    assert run.wait(60) is RunState.FINISHED
    assert seen == [2, 2, 2, 2, 1]
    assert all(len(run.history[name][1]) == 1 for name in ("val_loss", "accuracy", "val_accuracy"))
