from __future__ import annotations

import comm
import pytest
import torch
from torch import nn

import nbopt
from nbopt.notebook.frontend import bridge
from nbopt.notebook.panel.panel import Panel
from tests.notebook.frontend import Page


@pytest.fixture
def page(monkeypatch):
    """A page that takes what widgets made from now on send."""
    page = Page()
    monkeypatch.setattr(comm, "create_comm", page.create_comm)
    return page


@pytest.fixture
def make_run(one_torch_thread):
    """Make small runs, of two classes; they are stopped at the end."""
    runs = []

    def make(**settings):
        torch.manual_seed(0)
        x = torch.randn(96, 4)
        model = settings.pop("model", None) or nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.Linear(8, 2))
        data = {"train": (x, (x[:, 0] > 0).long()), "val": 0.25, "metrics": ["accuracy"], "epochs": 1_000_000}
        runs.append(nbopt.Run(model, **{**data, **settings}))
        return runs[-1]

    yield make
    for run in runs:
        run.stop()


@pytest.fixture
def show(page, monkeypatch):
    """Show runs in panels that paint as soon as there is news; they are closed at the end."""
    monkeypatch.setattr(bridge, "FRAME_SECONDS", 0.0)
    monkeypatch.setattr(bridge, "_LONGEST", 0.0)  # nor does an answer that took long
    panels = []

    def show_run(run):
        panels.append(Panel(run))
        return panels[-1]

    yield show_run
    for panel in panels:
        panel.bridge.close()
        panel.strips.close()


@pytest.fixture
def trained(make_run, show):
    """A run after some steps, at rest, and its panel."""
    run = make_run()
    run.step(40)
    return run, show(run)
