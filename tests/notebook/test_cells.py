"""A cell run again pauses the runs it made before; nothing else does."""

from __future__ import annotations

import multiprocessing

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from nbopt.notebook import cells as module
from nbopt.notebook.cells import Cells
from nbopt.notebook.panel.messages import end
from nbopt.notebook.panel.status import earlier_line
from nbopt.run.run import Run


@pytest.fixture
def cells(monkeypatch):
    """Runs are made in the cell and execution named by `place`."""
    found = Cells()
    found.place = None
    monkeypatch.setattr(module, "_here", lambda: found.place)
    monkeypatch.setattr(Run, "viewer", found)
    return found


def test_a_cell_run_again_pauses_its_runs_and_tells_where_they_are(cells, make_run):
    cells.place = ("cell", "1")
    one, other = make_run(), make_run()
    one.start()
    other.start()
    assert one.state.name == other.state.name == "RUNNING"  # two runs of one execution are friends
    cells.place = ("cell", "2")
    again = make_run()
    assert one.state.name == other.state.name == "PAUSED"
    assert one.journal[-1][1] == "pause" and "was run again" in end(one).said
    assert cells.earlier(again) == [one, other] and cells.earlier(one) == []
    assert f"%nbopt show {one.id}" in earlier_line(cells.earlier(again))
    one.resume()
    assert end(one).said == "" and one.state.name == "RUNNING"


def test_the_workers_of_a_run_whose_cell_is_run_again_go(cells, make_run):
    def loaded():
        data = TensorDataset(torch.randn(96, 4), torch.arange(96) % 2)
        loader = DataLoader(torch.utils.data.ConcatDataset([data]), batch_size=8, num_workers=1)
        return make_run(train=loader, val=None)

    def workers():
        return {child.pid for child in multiprocessing.active_children()}

    before = workers()
    cells.place = ("cell", "1")
    trains, rests = loaded(), loaded()
    trains.start()
    rests.step()
    assert len(workers() - before) == 2  # those of a run that rests stay
    cells.place = ("cell", "2")
    loaded()
    assert workers() == before
    rests.step()
    trains.resume()
    assert len(workers() - before) == 2
    trains.stop()
    rests.stop()


@pytest.mark.parametrize("place", [("another cell", "2"), None])
def test_another_cell_or_none_pauses_nothing(cells, make_run, place):
    cells.place = ("cell", "1")
    run = make_run()
    run.start()
    cells.place = place
    make_run()
    assert run.state.name == "RUNNING" and earlier_line([]) == ""
