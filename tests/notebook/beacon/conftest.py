"""Every beacon here is of fake comms, and looks at once when it is woken."""

import comm
import pytest

from nbopt.notebook import publisher
from nbopt.notebook.publisher import StatusPublisher
from tests.notebook.beacon.fakes import FakeComm, publishers
from tests.waiting import eventually


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
