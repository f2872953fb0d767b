import re
import threading
from itertools import pairwise
from pathlib import Path

import comm
import pytest
from comm.base_comm import BaseComm
from jupyter_client.manager import start_new_kernel

from nbopt.notebook import publisher
from nbopt.notebook.listed import enter
from nbopt.notebook.publisher import StatusPublisher
from nbopt.record.history import History
from nbopt.techniques.plan import Plan
from nbopt.training.state import RunState as State
from tests.waiting import eventually

PROTOCOL = Path(__file__).parents[2] / "labextension/src/protocol.ts"


class FakeRun:
    def __init__(self, run_id="r1", state=State.RUNNING):
        self.id = run_id
        self.name = "digits"
        self.state = state
        self.epoch = 2
        self.step_count = 10
        self.steps_per_second = 12.5
        self.history = History()
        self.history.append("loss", 9, 0.5)
        self.plan = Plan()  # 20 epochs

    def _become(self, state, wait, source):
        assert not wait  # it would hold up the shell that handles messages
        assert source == "status bar"
        self.state = state

    def pause(self, *, wait, source):
        self._become(State.PAUSED, wait, source)

    def resume(self, *, wait, source):
        self._become(State.RUNNING, wait, source)

    def stop(self, *, wait, source):
        self._become(State.STOPPED, wait, source)


class Runs:
    """The live runs, counting how often they were looked at; `failing` raises instead."""

    def __init__(self, *runs):
        self.runs = list(runs)
        self.looks = 0
        self.failing = None

    def __call__(self):
        self.looks += 1
        if self.failing is not None:
            raise self.failing
        return self.runs


class FakeComm(BaseComm):
    """A comm that keeps what would go to the front end."""

    opened: list["FakeComm"]
    others: list[threading.Thread]  # publishers that were there before: a panel's beacon stays open

    def __init__(self, **kwargs):
        self.messages = []
        self.times = []
        self.broken = False
        super().__init__(**kwargs)

    def publish_msg(self, msg_type, data=None, metadata=None, buffers=None, **keys):
        if self.broken:
            raise RuntimeError("no socket")
        if msg_type == "comm_open":
            FakeComm.opened.append(self)
        elif msg_type == "comm_msg":
            self.times.append(publisher.time.monotonic())
            self.messages.append(data)

    @property
    def errors(self):
        return [message["error"] for message in self.messages if "error" in message]

    def receive(self, data):
        """Take a message as if the front end had sent it."""
        self.handle_msg({"content": {"data": data}})


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    """Fake comms, and a publisher that looks at once when it is woken, and only then."""
    FakeComm.opened, FakeComm.others = [], []
    FakeComm.others = publishers()
    monkeypatch.setattr(comm, "create_comm", FakeComm)
    monkeypatch.setattr(publisher, "TICK", 0.0)
    monkeypatch.setattr(publisher, "LINGER", 0.0)


@pytest.fixture
def light():
    """Open a beacon over some runs: (beacon, comm)."""
    beacons = []

    def open_over(live_runs):
        beacon = StatusPublisher(live_runs)
        beacons.append(beacon)
        beacon.ensure_open()
        channel = FakeComm.opened[-1]
        eventually(lambda: channel.messages)
        return beacon, channel

    yield open_over
    for beacon in beacons:
        beacon.close()


def publishers():
    running = [thread for thread in threading.enumerate() if thread.name == "nbopt-beacon"]
    return [thread for thread in running if thread not in FakeComm.others]


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
from tests.notebook.test_beacon import FakeRun, State, StatusPublisher
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
            OPEN_IN_A_KERNEL.format(root=str(Path(__file__).parents[2])),
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
