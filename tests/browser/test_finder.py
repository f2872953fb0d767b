"""The chart of a learning-rate sweep, in a real JupyterLab: a click sets the run's rate."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

SWEEP = """
%load_ext nbopt
import nbopt, torch
from torch import nn
torch.manual_seed(0)
X, y = torch.randn(200, 4), torch.randint(3, (200,))
run = nbopt.Run(nn.Linear(4, 3), train=(X, y), store=None)
run.find_lr(1e-5, 1.0, 40)
"""


def test_a_click_on_the_chart_sets_the_rate(notebook):
    book = notebook(SWEEP)
    book.run_all()
    finder = book.page.locator(".nbopt-finder")
    area = finder.locator(".plotarea_background")
    area.wait_for(state="attached")
    expect(finder.locator(".nbopt-figure[role=img]")).to_be_visible()  # its script is there
    box = area.bounding_box()
    book.page.mouse.click(box["x"] + 0.6 * box["width"], box["y"] + 0.5 * box["height"])
    rate = book.wait_for("run.journal.changes() and run.hyperparams['lr']")
    assert rate == pytest.approx(1e-5 * (1 / 1e-5) ** 0.6, rel=0.1)
    expect(finder.locator(".nbopt-chart-head")).to_contain_text(f"{rate:g}")
    assert book.problems == []
