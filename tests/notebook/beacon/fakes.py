"""Runs and comms of no kernel, for the publisher to follow."""

import threading

from comm.base_comm import BaseComm

from nbopt.notebook import publisher
from nbopt.record.history import History
from nbopt.techniques.plan import Plan
from nbopt.training.state import RunState as State


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


def publishers():
    running = [thread for thread in threading.enumerate() if thread.name == "nbopt-beacon"]
    return [thread for thread in running if thread not in FakeComm.others]
