"""The item in JupyterLab's status bar, with the real extension: what it tells, and that its buttons act."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.digits import wait_for_text
from tests.browser.test_past import save

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

RUN = """
%load_ext nbopt
import nbopt, torch
from torch import nn
X = torch.randn(256, 8)
run = nbopt.Run(nn.Linear(8, 2), train=(X, (X[:, 0] > 0).long()), name="straight", epochs=1_000_000)
"""

BEHIND = """[
    globals().update(many=nbopt.Population(
        nn.Linear(8, 2), (X, (X[:, 0] > 0).long()), lr=[0.1, 0.2, 0.3], name="many", epochs=10**6, store=None)),
    many.start(),
]"""
NAME_IT = """() => {
    const { content } = window.jupyterapp.shell.currentWidget;
    content.activeCellIndex = 2;
    content.activeCell.model.sharedModel.setSource('run.show()');
}"""
ITEM = ".nbopt-status button"
ROW = ".nbopt-run"


def open_list(page) -> None:
    page.locator(ITEM).click()
    page.locator(ROW, has_text="straight").last.wait_for()  # beside runs of earlier tests, until they are tidied away


def press(page, label: str) -> None:
    page.locator(".nbopt-runs").get_by_role("button", name=f"{label}: straight").click()


def test_the_status_bar_tells_of_a_run_that_its_popup_steers_and_a_page_loaded_again_shows_a_live_panel(notebook):
    book = notebook(RUN, "run", "run.speed = 100\nrun.start()")
    page = book.page
    row = page.locator(ROW, has_text="straight")
    book.run_all()
    page.locator(ITEM, has_text="1 training").wait_for()
    open_list(page)
    expect(row.locator(".nbopt-run-name")).to_contain_text("straight")
    expect(row.locator(".nbopt-run-state")).to_contain_text("training")

    press(page, "Pause")
    book.wait_for("run.state.name == 'PAUSED'")
    expect(row.locator(".nbopt-run-state")).to_contain_text("paused")
    page.locator(ITEM, has_text="none training").wait_for()
    assert book.ask("run.journal[-1].source") == "status bar"
    expect(row.locator(".nbopt-run-facts")).to_contain_text(" · loss 0.")
    page.locator(".nbopt-footer").evaluate("footer => footer.scrollIntoView({ block: 'start' })")
    expect(page.locator(".nbopt-header")).not_to_be_in_viewport()
    row.locator(".nbopt-run-name").click()  # leads to the panel, and closes the list
    expect(page.locator(".nbopt-header")).to_be_in_viewport()
    page.locator(".nbopt-runs").wait_for(state="detached")
    open_list(page)
    press(page, "Resume")
    book.wait_for("run.state.name == 'RUNNING'")
    page.locator(ITEM, has_text="1 training").wait_for()
    page.keyboard.press("Escape")
    page.locator(".nbopt-runs").wait_for(state="detached")

    save(book)  # else the page asks whether to stay
    book.open(fresh=False)  # the page anew, the kernel as it was
    page.locator(".nbopt-figure .plotarea_background").first.wait_for()
    expect(page.locator(".nbopt-still")).to_be_hidden()
    page.locator(".nbopt-hp-lr .noUi-handle").press("ArrowRight")  # at once: a page being loaded moves the focus
    book.wait_for("run.hyperparams['lr'] == 0.0012")
    wait_for_text(book, ".nbopt-hp-lr .nbopt-applied", "applied")
    page.locator(ITEM, has_text="1 training").wait_for()
    open_list(page)
    press(page, "Stop")
    book.wait_for("run.state.name == 'STOPPED'")
    expect(row.locator(".nbopt-run-state")).to_contain_text("stopped")
    page.locator(ITEM, has_text="none training").wait_for()

    # Lost output comes back by naming the run.
    book.command("notebook:clear-all-cell-outputs")
    expect(page.locator(".nbopt-panel")).to_have_count(0)
    page.evaluate(NAME_IT)
    book.command("notebook:run-cell")
    wait_for_text(book, ".nbopt-panel .nbopt-state", "Stopped")

    book.ask(BEHIND)  # a population that no cell shows is seen as a run is
    page.locator(ITEM, has_text="1 training").wait_for()
    crowd = page.locator(ROW, has_text="many")
    expect(crowd.locator(".nbopt-run-facts")).to_contain_text("going on 3 of 3")
    crowd.get_by_role("button", name="Pause: many").click()
    book.wait_for("many.state.name == 'PAUSED'")
    page.locator(ITEM, has_text="none training").wait_for()
    assert book.problems == []
