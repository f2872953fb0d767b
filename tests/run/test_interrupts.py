"""Ctrl-C and other interrupts: whatever they fall into, the run, its journal and its store agree, and it goes on."""

import contextlib
import io
import os
import random
import signal
import sqlite3
import threading
import warnings

import pytest
import torch
from torch import nn

from nbopt import Run
from nbopt.store import schema
from nbopt.store.database import store_in
from tests.run import interrupts
from tests.tries import FACTOR

TRIES = 4 * FACTOR


@pytest.fixture(autouse=True)
def python_hears_ctrl_c():
    """Have Python's own handler: a shell that starts the tests in the background has them ignore SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def quiet_fit(run):
    with contextlib.redirect_stderr(io.StringIO()):
        run.fit()


@pytest.mark.parametrize("name", list(interrupts.CALLS))
def test_an_interrupt_before_any_line_leaves_all_agreeing(name, tmp_path):
    chance = random.Random(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lines = interrupts.lines_of(name, tmp_path / "lines")
        tried = [interrupts.try_one(name, chance.randint(1, lines), tmp_path / "store", chance) for _k in range(TRIES)]
    assert len(set(tried)) > 1


def press(run, at, count=1):
    """Press Ctrl-C in the middle of step number ``at``."""

    def interrupting(output, target):
        if run().step_count == at and torch.is_grad_enabled():
            for _time in range(count):
                os.kill(os.getpid(), signal.SIGINT)
        return nn.functional.cross_entropy(output, target)

    return interrupting


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_ctrl_c_in_fit_waits_for_the_step_and_pauses(make_run, weights, optimizer):
    run = make_run(loss=press(lambda: run, 7), epochs=4, batch_size=8, optimizer=optimizer, store=None)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        quiet_fit(run)
    assert (run.state.value, run.step_count) == ("paused", 8)
    assert signal.getsignal(signal.SIGINT) is before is signal.default_int_handler
    assert "redone" not in [entry.name for entry in run.journal]
    quiet_fit(run)
    whole = make_run(loss=nn.functional.cross_entropy, epochs=4, batch_size=8, optimizer=optimizer, store=None)
    quiet_fit(whole)
    assert run.step_count == whole.step_count == 32
    assert torch.equal(weights(run), weights(whole))


def test_a_second_ctrl_c_does_not_wait(make_run, weights):
    run = make_run(loss=press(lambda: run, 7, count=2), epochs=4, batch_size=8, store=None)
    with pytest.raises(KeyboardInterrupt):
        quiet_fit(run)
    assert (run.state.value, run.step_count) == ("paused", 7)
    whole = make_run(epochs=4, batch_size=8, store=None)
    whole.step(7)
    assert torch.equal(weights(run), weights(whole))


def test_a_handler_of_the_users_own_is_left_alone(make_run):
    seen = []
    before = signal.signal(signal.SIGINT, lambda *_arguments: seen.append(run.step_count))
    try:
        run = make_run(loss=press(lambda: run, 3), epochs=2, batch_size=8, store=None)
        quiet_fit(run)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (run.state.value, seen) == ("finished", [3])


def test_fit_trains_in_the_threads_of_who_calls_it_and_there_leaves_signals_alone(make_run):
    seen = set()

    def loss(output, target):
        seen.add(threading.current_thread())
        return nn.functional.cross_entropy(output, target)

    run = make_run(loss=loss, epochs=1, store=None)
    thread = threading.Thread(target=quiet_fit, args=(run,))
    thread.start()
    thread.join(30)
    assert seen == {thread} and run.state.value == "finished"


@pytest.mark.parametrize("method", ["advance", "update"])
def test_what_an_interrupt_left_between_update_and_count_is_done_again(make_run, weights, monkeypatch, method):
    run = make_run(epochs=4, batch_size=8, store=None)
    run.step(10)
    owner = run.training if method == "advance" else run.training.stepper
    usual = getattr(owner, method)

    def interrupted(*arguments):
        setattr(owner, method, usual)
        if method == "update":
            usual(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(owner, method, interrupted)
    with pytest.raises(KeyboardInterrupt):
        quiet_fit(run)
    assert (run.state.value, run.step_count) == ("paused", 10)
    assert [entry.name for entry in run.journal][-2:] == ["redone", "pause"]
    whole = make_run(epochs=4, batch_size=8, store=None)
    whole.step(10)
    assert torch.equal(weights(run), weights(whole))


def test_an_optimizer_that_fails_half_way_is_put_right_before_the_run_goes_on(make_run, weights):
    class Failing(torch.optim.SGD):
        fails = True

        def step(self, closure=None):
            result = super().step()
            if type(self).fails and run.step_count == 5:
                type(self).fails = False
                raise OSError("disk")
            return result

    run = make_run(optimizer=Failing, batch_size=8, store=None)
    with pytest.raises(OSError):
        run.step(8)
    run.step(3)
    whole = make_run(optimizer=Failing, batch_size=8, store=None)
    whole.step(8)
    assert torch.equal(weights(run), weights(whole))


def test_a_rewind_in_a_run_that_follows_a_plan_does_the_changes_between_again(make_run, weights):
    text = "seed: 0\nhyperparameters: {batch_size: 8}\nschedule:\n  3: {lr: 0.01}\n  20: {lr: 0.1}\n"
    run = Run.from_yaml(text, *_material(make_run), store=None)
    run.step(9)
    before = weights(run)
    run.step(3)
    run.training.snapshots._shelf = run.training.snapshots._shelf[:1]
    run.rewind(9)
    assert torch.equal(weights(run), before)
    run.step(12)
    assert run.hyperparams["lr"] == 0.1


def _material(make_run):
    run = make_run(store=None)
    return run.model, run.spec.train


def test_a_transaction_that_an_interrupt_left_open_is_ended(tmp_path):
    store = store_in(tmp_path)
    store._connection.execute("BEGIN IMMEDIATE")
    store.tidy()
    assert not store._connection.in_transaction
    store._connection.execute("BEGIN IMMEDIATE")
    with schema.transaction(store._connection) as execute:
        execute("SELECT 1")
    with sqlite3.connect(tmp_path / schema.FILE, timeout=0) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")
    other.close()
