"""Any order of commands, from one thread and from many: no deadlock, no illegal state, nothing lost."""

import itertools
import random
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from torch import nn

from nbopt import Run, RunState

STEPS = 3  # in an epoch
X, Y = torch.randn(60, 4, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 3

# What may follow on what in a journal: the run is at rest ("rest"), trains ("run") or has ended.
FOLLOWS = {
    "start": {"pause", "stopped", "finished", "restore_best", "failed"},
    "step": {"pause", "stopped", "finished", "restore_best", "failed"},
    "resume": {"pause", "stopped", "finished", "restore_best", "failed"},
    "restore_best": {"finished"},
    "pause": {"resume", "step", "stopped"},
    "stopped": {"resume", "step"},
    "finished": {"resume", "step", "reopen"},
    "reopen": {"resume", "step"},
}


def check_events(run):
    names = [entry.name for entry in run.journal if entry.kind == "event"]
    assert all(after in FOLLOWS[before] for before, after in itertools.pairwise(names)), names
    assert not names or names[0] in {"start", "step", "stopped"}


class OneThread(RuleBasedStateMachine):
    """Commands that wait, one after the other, against what the run should be afterwards."""

    def __init__(self):
        super().__init__()
        self.run = Run(nn.Linear(4, 3), (X, Y), val=(X, Y), batch_size=60 // STEPS, epochs=4)
        self.state = RunState.CREATED
        self.least = 0  # steps the run must have done by now

    @property
    def last(self):
        return STEPS * self.run.hyperparams["epochs"]

    def ended(self):
        return self.state is RunState.FINISHED and self.run.step_count >= self.last

    def command(self, command, *args):
        """Give a command that makes the run train; return whether it did, and hold that it did not only at the end."""
        may_have_ended, had_ended = self.state is RunState.RUNNING, self.ended()
        try:
            command(*args)
        except RuntimeError as error:
            assert "the run is complete" in str(error)
            assert may_have_ended or had_ended
            self.state = RunState.FINISHED
            return False
        assert not had_ended  # before: by now it may have trained to its end once more
        return True

    @rule(n=st.integers(1, 5))
    def step(self, n):
        at_rest, before = self.state is not RunState.RUNNING, self.run.step_count
        if self.command(self.run.step, n):
            if at_rest:  # a running run counts from wherever it is
                assert self.run.step_count == min(before + n, max(before, self.last))
            self.state = RunState.FINISHED if self.run.step_count >= self.last else RunState.PAUSED

    @rule(resume=st.booleans())
    def start(self, resume):
        if self.command(self.run.resume if resume else self.run.start):
            self.state = RunState.RUNNING

    @rule()
    def pause(self):
        self.run.pause()
        if self.state is RunState.RUNNING:
            self.state = RunState.FINISHED if self.run.step_count >= self.last else RunState.PAUSED

    @rule()
    def stop(self):
        self.run.stop()
        if self.state is RunState.RUNNING:
            assert self.run.state in (RunState.STOPPED, RunState.FINISHED)
            self.state = self.run.state
        elif self.state in (RunState.CREATED, RunState.PAUSED):
            self.state = RunState.STOPPED

    @rule(lr=st.floats(0, 0.1))
    def set_lr(self, lr):
        self.run.set(lr=lr)
        if self.state is not RunState.RUNNING:  # where a stop cut a validation off, that comes first
            assert self.run.hyperparams["lr"] == lr or self.run.pending

    @rule(epochs=st.integers(1, 8))
    def set_epochs(self, epochs):
        if self.state is not RunState.RUNNING:
            self.run.set(epochs=epochs)

    @rule()
    def wait(self):
        if self.state is RunState.RUNNING:
            assert self.run.wait(60) is RunState.FINISHED
            self.state = RunState.FINISHED

    @invariant()
    def is_as_expected(self):
        if self.state is RunState.RUNNING:
            assert self.run.state in (RunState.RUNNING, RunState.FINISHED)
            return
        assert self.run.state is self.state
        assert self.run.error is None
        assert not self.run.worker.is_pulling
        check_events(self.run)

    def teardown(self):
        self.run.stop()
        check_events(self.run)


OneThread.TestCase.settings = settings(max_examples=30, stateful_step_count=15, deadline=None, derandomize=True)
TestOneThread = OneThread.TestCase


def commands(run, source, count):
    """Give so many random commands; return the changes asked for."""
    dice, changes = random.Random(source), []
    for number in range(count):
        wait = dice.random() < 0.5
        match dice.choice(["start", "resume", "pause", "step", "stop", "wait", "set", "set"]):
            case "set":
                changes.append((source * count + number + 1) * 1e-6)
                run.set(lr=changes[-1], source=str(source))
            case "wait":
                run.wait(0.001)
            case "step":
                attempt(run.step, dice.randint(1, 4), wait=wait)
            case command:
                attempt(getattr(run, command), wait=wait)
    return changes


def attempt(command, *args, **kwargs):
    try:
        command(*args, **kwargs)
    except RuntimeError as error:
        assert "the run is complete" in str(error)


@pytest.mark.usefixtures("restless_threads")
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("epochs", [10**9, 5], ids=["endless", "short"])
def test_commands_from_many_threads_end_in_order(make_run, blobs, epochs, seed):
    run = make_run(val=blobs, batch_size=20, epochs=epochs)
    with ThreadPoolExecutor() as pool:
        results = [pool.submit(commands, run, 4 * seed + thread, 100) for thread in range(4)]
        asked = {str(4 * seed + thread): result.result(60) for thread, result in enumerate(results)}
    attempt(run.step)
    run.stop()
    assert run.state is (RunState.STOPPED if epochs > 5 or run.epoch < 5 else RunState.FINISHED)
    assert not run.worker.is_pulling and not run.pending and run.error is None
    check_events(run)
    for source, changes in asked.items():
        assert [entry.new for entry in run.journal.changes() if entry.source == source] == changes
    assert run.history["loss"][0].tolist() == list(range(run.step_count))
    assert run.history["val_loss"][0].tolist() == list(range(STEPS, run.step_count + 1, STEPS))
    run.set(epochs=run.epoch + 2)
    run.resume()
    assert run.wait(60) is RunState.FINISHED
