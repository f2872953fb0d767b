"""What no cell shows any more, and nobody holds, is free; what is seen, trains or has a name is not."""

from __future__ import annotations

import gc
import itertools
import weakref

import pytest
import torch
from ipywidgets.widgets.widget import _instances
from torch import nn

import nbopt
from nbopt.notebook import cells as module
from nbopt.notebook import viewer
from nbopt.notebook.cells import CELLS
from nbopt.notebook.panel.panel import panel_of
from nbopt.notebook.playground import Playground
from nbopt.run.run import Run
from nbopt.run.session.registry import live_runs
from tests.notebook.frontend import eventually

_executions = itertools.count()


class Notebook:
    """Cells, executed as a kernel does; ``names`` are the user's, ``made`` the runs, held weakly."""

    def __init__(self):
        self.names = {"make": self.make}
        self.made = []
        self.place = None

    def make(self, **settings):
        x = torch.randn(96, 4)
        model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))
        settings = {"val": 0.25, "metrics": "accuracy", "epochs": 10**6, "store": None, **settings}
        run = nbopt.Run(model, (x, (x[:, 0] > 0).long()), **settings)
        self.made.append(weakref.ref(run))
        return run

    def run(self, cell, code):
        """Execute a cell; what it shows is what its code's value shows."""
        self.place = (cell, str(next(_executions)))
        CELLS.begin()
        for shown in eval(code, self.names):
            shown._repr_mimebundle_()
        self.place = None


@pytest.fixture
def notebook(page, monkeypatch, one_torch_thread):
    notebook = Notebook()
    monkeypatch.setattr(module, "_here", lambda: notebook.place)
    monkeypatch.setattr(Run, "viewer", viewer)
    yield notebook
    for run in live_runs():
        run.stop()


NEW = "[globals().update(run=make()), run.start()] and [run]"


def alive(*refs):
    gc.collect()
    return [found() is not None for found in refs]


def test_a_run_is_free_when_its_cell_was_run_twice_more(notebook):
    gc.collect()
    before, models = len(_instances), []
    for count in range(4):
        notebook.run("cell", NEW)
        models.append(weakref.ref(notebook.names["run"].model))
        # The newest panel tells how to get back to the one before.
        expected = [at >= count - 1 for at in range(count + 1)]
        eventually(lambda: alive(*notebook.made) == alive(*models) == expected)  # noqa: B023
    widgets = len(_instances) - before
    notebook.names.pop("run").pause()
    notebook.run("cell", "[]")
    eventually(lambda: alive(*models) == [False, False, False, True])
    notebook.run("cell", "[]")
    eventually(lambda: alive(*notebook.made, *models) == [False] * 8)
    assert widgets > 0 and len(_instances) == before


def test_a_run_that_is_stored_is_free_too(notebook, tmp_path):
    notebook.names["folder"] = tmp_path
    notebook.run("cell", "[make(store=folder)]")
    run = notebook.made[-1]
    run().step(3)
    for _again in range(2):
        notebook.run("cell", "[]")
    assert alive(run) == [False]


def test_a_run_with_a_name_stays_and_shows_itself_anew(notebook):
    notebook.run("cell", NEW)
    run = notebook.names["run"]
    panel = panel_of(run)
    for _again in range(2):
        notebook.run("cell", "[]")
    assert panel.family.comm is None and run.state.name == "RUNNING"
    notebook.run("other", "[run]")
    assert panel_of(run) is not panel and panel_of(run).family.comm is not None
    run.stop()
    eventually(lambda: "Stopped" in panel_of(run)._status.value)


def test_a_run_that_trains_is_free_only_when_it_has_come_to_rest(notebook):
    notebook.run("cell", NEW)
    run = notebook.made[-1]
    notebook.names.pop("run")
    for _again in range(2):
        notebook.run("cell", "[]")
    assert alive(run) == [True] and run().state.name == "RUNNING"
    steps = run().step_count
    eventually(lambda: run().step_count > steps)
    run().pause()
    eventually(lambda: alive(run) == [False])


@pytest.mark.parametrize("where", ["the same cell", "another cell", "outside of cells"])
def test_a_run_that_is_seen_stays(notebook, where):
    notebook.run("cell", NEW)
    run = notebook.made[-1]
    panel = weakref.ref(panel_of(run()))
    run().pause()
    if where == "another cell":
        notebook.run("other", "[run]")
    if where == "outside of cells":
        run()._repr_mimebundle_()
    for _again in range(3):
        notebook.run("cell", "[run]" if where == "the same cell" else "[]")
    notebook.names.pop("run")
    assert alive(run) == [True]
    assert panel_of(run()) is panel() and panel().family.comm is not None


def test_code_that_a_cell_runs_is_not_the_cell_run_again(notebook):
    notebook.run("cell", "[make()]")
    run = notebook.made[-1]
    notebook.place = ("cell", str(next(_executions)))
    for _cell in range(3):
        CELLS.begin()
    assert alive(run) == [True] and panel_of(run()).family.comm is not None


def branched(notebook, page):
    """Make a run with a branch below it, as the button does; return both, weakly."""
    notebook.run("cell", "[globals().update(run=make()), run.step(5)] and [run]")
    run = notebook.names["run"]
    panel = panel_of(run)
    page.click(panel.transport.buttons["branch"])
    eventually(lambda: len(panel.family.children) == 2 and not panel.transport.aside.is_busy)
    return weakref.ref(run), weakref.ref(run.branches[0])


def test_the_branches_of_a_run_go_with_it(notebook, page):
    run, branch = branched(notebook, page)
    branch().step(2)
    notebook.names.pop("run")
    notebook.run("cell", "[]")
    assert alive(run, branch) == [True, True]
    notebook.run("cell", "[]")
    eventually(lambda: alive(run, branch) == [False, False])


def test_a_branch_that_has_a_cell_of_its_own_stays_there(notebook, page):
    run, branch = branched(notebook, page)
    notebook.run("other", "[run.branches[0]]")
    notebook.names.pop("run")
    for _again in range(2):
        notebook.run("cell", "[]")
    eventually(lambda: alive(run) == [False])
    assert panel_of(branch()).family.comm is not None


def test_a_branch_is_seen_below_its_run_whatever_becomes_of_its_own_cell(notebook, page):
    run, branch = branched(notebook, page)
    notebook.run("other", "[run.branches[0]]")
    for _again in range(2):
        notebook.run("other", "[]")
    assert panel_of(branch()).family.comm is not None
    assert panel_of(run()).family.children[1] is panel_of(branch()).family


def test_the_branches_of_a_run_that_is_shown_anew_stand_below_it_again(notebook, page):
    run, branch = branched(notebook, page)
    for _again in range(2):
        notebook.run("cell", "[]")
    assert alive(branch) == [True]
    notebook.run("other", "[run]")
    assert panel_of(run()).family.children[1] is panel_of(branch()).family


def test_a_sweep_of_learning_rates_does_not_keep_its_run(notebook):
    notebook.run("cell", "[make().find_lr(steps=20)]")
    run = notebook.made[-1]
    assert alive(run) == [True]
    notebook.run("cell", "[]")
    notebook.run("cell", "[]")
    assert alive(run) == [False]


def test_the_playground_keeps_its_panel(notebook):
    playground = notebook.names["playground"] = Playground()
    notebook.run("cell", "[playground.run]")
    for _again in range(2):
        notebook.run("cell", "[]")
    assert panel_of(playground.run).family.comm is not None
    playground.close()
