"""Learning rates that were tried, in a real JupyterLab: a click takes one."""

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


AROUND = """
X = torch.randn(200, 4)
y = (X @ torch.randn(4, 3)).argmax(1)
around = nbopt.Run(nn.Linear(4, 3), train=(X, y), val=0.25, epochs=6, lr=0.003, store=None)
around.step(9)
around
"""


def test_a_click_on_a_sweep_sets_the_rate_and_a_search_around_a_run_is_drawn_in_its_charts_and_taken(notebook):
    book = notebook(SWEEP, AROUND)
    book.command("notebook:run-cell")  # alone: another panel would move the chart away from below the pointer
    finder = book.page.locator(".nbopt-finder")
    area = finder.locator(".plotarea_background")
    area.wait_for(state="attached")
    expect(finder.locator(".nbopt-figure[role=img]")).to_be_visible()  # its script is there
    box = area.bounding_box()
    book.page.mouse.click(box["x"] + 0.6 * box["width"], box["y"] + 0.5 * box["height"])
    rate = book.wait_for("run.journal.changes() and run.hyperparams['lr']")
    assert rate == pytest.approx(1e-5 * (1 / 1e-5) ** 0.6, rel=0.1)
    expect(finder.locator(".nbopt-chart-head")).to_contain_text(f"{rate:g}")

    book.page.evaluate("() => window.jupyterapp.shell.currentWidget.content.activeCellIndex = 1")
    book.command("notebook:run-cell")
    panel = book.page.locator(".nbopt-panel")
    drawer = panel.locator(".nbopt-drawer-search")
    drawer.evaluate("drawer => drawer.scrollIntoView({ block: 'end' })")  # the last that is in sight
    drawer.click()
    expect(panel.locator(".nbopt-search-here")).to_be_in_viewport()
    panel.locator(".nbopt-search-here").click()
    best = panel.locator(".nbopt-search-take").first
    expect(best).to_contain_text("val_loss")
    expect(panel.locator(".nbopt-sweep-head").first).to_contain_text("16 of 16")
    expect(panel.locator(".nbopt-key", has_text="trial").first).to_be_visible()
    found = book.wait_for("around.search.state.is_ended and around.search.best.values['lr']")
    assert book.wait_for("around.step_count") == 9
    best.click()
    book.wait_for("('lr', 'search') in [(change.name, change.source) for change in around.journal.changes()]")
    assert book.ask("around.hyperparams['lr']") == found
    expect(best).to_be_disabled()
    assert book.problems == []
