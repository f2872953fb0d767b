"""Commands to the publisher of runs, from the list in the status bar."""

import pytest

from nbopt.notebook import publisher
from nbopt.training.state import RunState as State
from tests.notebook.beacon.fakes import FakeRun, Runs
from tests.waiting import eventually


def test_a_late_effect_of_a_command_is_still_reported(light, monkeypatch):
    monkeypatch.setattr(publisher, "LINGER", 10.0)
    run = FakeRun(state=State.PAUSED)
    runs = Runs(run)
    beacon, channel = light(runs)
    beacon.wake()
    seen = runs.looks
    eventually(lambda: runs.looks > seen + 2)
    run.state = State.RUNNING  # a while after the wake
    eventually(lambda: channel.messages[-1]["runs"][0]["state"] == "RUNNING")


@pytest.mark.parametrize(
    ("before", "action", "after"),
    [
        (State.RUNNING, "pause", "PAUSED"),
        (State.PAUSED, "resume", "RUNNING"),
        (State.RUNNING, "stop", "STOPPED"),
    ],
)
def test_a_command_reaches_its_run_and_only_that(light, before, action, after):
    other = FakeRun("r1", before)
    run = FakeRun("r2", before)
    _, channel = light(Runs(other, run))
    channel.receive({"do": action, "run": "r2"})
    eventually(lambda: channel.messages[-1]["runs"][1]["state"] == after)
    assert other.state is before
    assert channel.errors == []


@pytest.mark.parametrize(
    "message",
    [
        None,
        [],
        "pause",
        {},
        {"do": "explode", "run": "r1"},
        {"do": "pause"},
        {"do": "pause", "run": 3},
        {"do": "__init__", "run": "r1"},
    ],
)
def test_a_malformed_message_is_answered_and_changes_nothing(light, message):
    run = FakeRun()
    _, channel = light(Runs(run))
    channel.receive(message)
    assert len(channel.errors) == 1
    assert "does not understand" in channel.errors[0]
    assert run.state is State.RUNNING
    run.step_count = 12
    eventually(lambda: channel.messages[-1].get("runs", [{}])[0].get("step") == 12)


def test_a_message_without_data_is_answered(light):
    _, channel = light(Runs(FakeRun()))
    channel.handle_msg({})
    assert channel.errors == ["KeyError: 'content'"]


def test_an_unknown_run_is_named_in_the_answer(light):
    _, channel = light(Runs(FakeRun()))
    channel.receive({"do": "stop", "run": "gone"})
    assert "gone" in channel.errors[0]


def test_a_failing_command_is_answered(light):
    run = FakeRun()
    run.pause = lambda **_: 1 / 0
    _, channel = light(Runs(run))
    channel.receive({"do": "pause", "run": "r1"})
    assert channel.errors == ["ZeroDivisionError: division by zero"]


def test_a_refresh_repeats_the_report(light):
    _, channel = light(Runs(FakeRun(state=State.FINISHED)))
    channel.receive({"do": "refresh"})
    eventually(lambda: len(channel.messages) == 2)
    assert channel.messages[0] == channel.messages[1]
