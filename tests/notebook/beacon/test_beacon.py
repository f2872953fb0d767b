import re
import threading
from itertools import pairwise
from pathlib import Path

import pytest
from jupyter_client.manager import start_new_kernel

from nbopt.notebook import publisher
from nbopt.notebook.listed import enter
from nbopt.notebook.publisher import StatusPublisher
from nbopt.training.state import RunState as State
from tests.notebook.beacon.fakes import FakeComm, FakeRun, Runs, publishers
from tests.waiting import eventually

PROTOCOL = Path(__file__).parents[3] / "labextension/src/protocol.ts"


def test_the_first_report_tells_what_the_list_shows(light):
    _, channel = light(Runs(FakeRun()))
    assert channel.target_name == "nbopt.runs"
    assert channel.messages[0] == {
        "runs": [
            {
                "id": "r1",
                "name": "digits",
                "state": "RUNNING",
                "epoch": 2,
                "epochs": 20,
                "step": 10,
                "steps_per_second": 12.5,
                "loss": 0.5,
            }
        ]
    }


def test_a_population_tells_of_itself_in_words_of_its_own(light):
    crowd = FakeRun("p1")
    enter(crowd, lambda it: [f"going on {it.step_count} of 64"])
    _, channel = light(Runs(crowd))
    assert channel.messages[0]["runs"] == [
        {"id": "p1", "name": "digits", "state": "RUNNING", "facts": ["going on 10 of 64"]}
    ]


@pytest.mark.parametrize(("value", "told"), [(0.0, 0.0), (float("nan"), None), (float("inf"), None)])
def test_the_validation_loss_is_told_where_there_is_one(light, value, told):
    run = FakeRun()
    run.history.append("val_loss", 10, value)
    _, channel = light(Runs(run))
    assert channel.messages[0]["runs"][0]["loss"] == told


@pytest.mark.parametrize("speed", [None, float("nan"), float("inf")])
def test_a_speed_that_is_no_number_is_left_out(light, speed):
    run = FakeRun()
    run.steps_per_second = speed
    _, channel = light(Runs(run))
    assert channel.messages[0]["runs"][0]["steps_per_second"] is None


def test_opening_twice_opens_one_comm(light):
    beacon, _ = light(Runs(FakeRun()))
    beacon.ensure_open()
    assert len(FakeComm.opened) == 1
    assert len(publishers()) == 1


def test_a_training_run_is_followed_without_being_woken(light):
    run = FakeRun()
    _, channel = light(Runs(run))
    run.step_count = 11
    eventually(lambda: channel.messages[-1]["runs"][0]["step"] == 11)


def test_nothing_is_sent_when_nothing_changed(light):
    runs = Runs(FakeRun())
    _, channel = light(runs)
    seen = runs.looks
    eventually(lambda: runs.looks > seen + 20)
    assert len(channel.messages) == 1


def test_the_publisher_is_quiet_when_no_run_is_training(light):
    run = FakeRun(state=State.PAUSED)
    runs = Runs(run)
    beacon, channel = light(runs)
    for step in range(11, 16):
        run.step_count = step
        beacon.wake()
        eventually(lambda: channel.messages[-1]["runs"][0]["step"] == run.step_count)
    assert runs.looks == 6  # one for the opening and one for each wake


class Clock(threading.Condition):
    """A beacon's clock and its condition, in the hands of a test: time goes on by what it waits alone."""

    now = 1000.0

    def monotonic(self):
        return self.now

    def wait_for(self, predicate, timeout=None):
        if timeout is None:
            return super().wait_for(predicate)
        self.now += 0.0 if predicate() else timeout
        return predicate()


def test_reports_keep_their_distance(monkeypatch):
    clock, run = Clock(), FakeRun()
    monkeypatch.setattr(publisher, "TICK", 0.5)
    monkeypatch.setattr(publisher, "time", clock)
    beacon = StatusPublisher(Runs(run))
    beacon._changed = clock
    beacon.ensure_open()
    (channel,) = FakeComm.opened
    for count in range(5):
        run.step_count += 1
        beacon.wake()
        eventually(lambda count=count: len(channel.messages) > count)
    beacon.close()
    gaps = [later - earlier for earlier, later in pairwise(channel.times)]
    assert len(gaps) >= 4 and min(gaps) >= 0.5


def test_silence_when_nobody_reads_until_somebody_does(light, monkeypatch):
    monkeypatch.setattr(publisher, "UNSEEN", 3)
    run = FakeRun()
    runs = Runs(run)
    beacon, channel = light(runs)
    for count in (2, 3):
        run.step_count += 1
        eventually(lambda: len(channel.messages) == count)  # noqa: B023
    run.step_count += 1
    seen = runs.looks
    beacon.wake()
    eventually(lambda: runs.looks > seen)
    channel.receive({"do": "seen"})
    eventually(lambda: channel.messages[-1]["runs"][0]["step"] == run.step_count)
    assert len(channel.messages) == 4


def test_a_failure_to_look_is_reported_and_passes(light):
    runs = Runs(FakeRun(state=State.PAUSED))
    beacon, channel = light(runs)
    runs.failing = OSError("disk full")
    beacon.wake()
    eventually(lambda: channel.errors == ["OSError: disk full"])
    runs.failing = None
    beacon.wake()
    eventually(lambda: "runs" in channel.messages[-1])


def test_a_comm_closed_by_the_front_end_ends_the_publisher_and_can_be_opened_again(light):
    beacon, channel = light(Runs(FakeRun()))
    channel.handle_close({})
    eventually(lambda: publishers() == [])
    beacon.ensure_open()
    assert len(FakeComm.opened) == 2
    eventually(lambda: FakeComm.opened[1].messages)


def test_closing_ends_the_publisher_and_the_comm(light):
    beacon, channel = light(Runs(FakeRun(state=State.PAUSED)))
    beacon.close()
    assert publishers() == []
    assert channel._closed
    beacon.close()


def test_a_kernel_that_goes_down_ends_the_publisher_without_a_word(light, capfd):
    run = FakeRun()
    _, channel = light(Runs(run))
    channel.broken = True
    run.step_count += 1
    eventually(lambda: publishers() == [])
    assert capfd.readouterr() == ("", "")


OPEN_IN_A_KERNEL = """
import sys
sys.path.insert(0, {root!r})
from nbopt.record.history import History
from tests.waiting import eventually
from nbopt.notebook.publisher import StatusPublisher
from tests.notebook.beacon.fakes import FakeRun, State
run = FakeRun()
beacon = StatusPublisher(lambda: [run])
beacon.ensure_open()
"""
WAIT_IN_A_CELL = """
eventually(lambda: run.state is not State.RUNNING)
print(run.state.name)
"""


def test_a_pause_gets_through_while_a_cell_runs():
    manager, client = start_new_kernel()
    try:
        reply = client.kernel_info(reply=True, timeout=30)
        if "kernel subshells" not in reply["content"].get("supported_features", []):
            pytest.skip("this kernel has no subshells")
        subshell = create_subshell(client)
        messages = []
        client.execute_interactive(
            OPEN_IN_A_KERNEL.format(root=str(Path(__file__).parents[3])),
            output_hook=messages.append,
            timeout=60,
        )
        (comm_id,) = (message["content"]["comm_id"] for message in messages if message["msg_type"] == "comm_open")

        def press_pause(message):
            if message["msg_type"] == "execute_input":
                pause = client.session.msg("comm_msg", {"comm_id": comm_id, "data": {"do": "pause", "run": "r1"}})
                pause["header"]["subshell_id"] = subshell
                client.shell_channel.send(pause)
            elif message["msg_type"] == "stream":
                printed.append(message["content"]["text"])

        printed = []
        client.execute_interactive(WAIT_IN_A_CELL, output_hook=press_pause, timeout=60)
        assert "".join(printed) == "PAUSED\n"  # in as many pieces as it comes
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def create_subshell(client):
    client.control_channel.send(client.session.msg("create_subshell_request"))
    return client.control_channel.get_msg(timeout=30)["content"]["subshell_id"]


def test_the_page_knows_the_states_that_a_run_can_be_in():
    (listed,) = re.findall(r"const STATES = \[(.*?)\] as const", PROTOCOL.read_text(encoding="utf-8"))
    assert re.findall(r"'(\w+)'", listed) == [state.name for state in State]
