"""The item in JupyterLab's status bar, with the real extension: what it tells, and that its buttons act."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.digits import wait_for_text
from tests.browser.test_past import assert_disconnected, save

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
ITEM = ".nbopt-status button"


def open_list(page) -> None:
    page.locator(ITEM).click()
    page.locator(".nbopt-run").wait_for()


def press(page, label: str) -> None:
    page.locator(".nbopt-runs").get_by_role("button", name=f"{label}: straight").click()


def test_the_status_bar_tells_of_a_run_and_its_popup_pauses_resumes_and_stops_it_also_after_a_reload(notebook):
    book = notebook(RUN, "run", "run.start()", fresh=True)
    page = book.page
    # There from the start of the page, and hidden as long as there is no run.
    page.locator("#jp-main-statusbar").wait_for()
    page.locator(".nbopt-status").wait_for(state="hidden")

    book.run_all()
    page.locator(ITEM, has_text="1 training").wait_for()
    open_list(page)
    page.locator(".nbopt-run-name", has_text="straight").wait_for()
    page.locator(".nbopt-run-state", has_text="training").wait_for()

    press(page, "Pause")
    book.wait_for("run.state.name == 'PAUSED'")
    page.locator(".nbopt-run-state", has_text="paused").wait_for()
    page.locator(ITEM, has_text="none training").wait_for()
    assert book.ask("run.journal[-1].source") == "status bar"
    wait_for_text(book, ".nbopt-run-facts", " · loss 0.")
    page.locator(".nbopt-footer").evaluate("footer => footer.scrollIntoView({ block: 'start' })")
    expect(page.locator(".nbopt-header")).not_to_be_in_viewport()
    page.locator(".nbopt-run-name").click()  # leads to the panel, and closes the list
    expect(page.locator(".nbopt-header")).to_be_in_viewport()
    page.locator(".nbopt-runs").wait_for(state="detached")
    open_list(page)
    press(page, "Resume")
    book.wait_for("run.state.name == 'RUNNING'")
    page.locator(ITEM, has_text="1 training").wait_for()
    page.keyboard.press("Escape")
    page.locator(".nbopt-runs").wait_for(state="detached")

    save(book)  # else the page asks whether to stay
    book.open()  # the page anew, the kernel as it was
    page.locator(ITEM, has_text="1 training").wait_for()
    open_list(page)
    press(page, "Stop")
    book.wait_for("run.state.name == 'STOPPED'")
    page.locator(".nbopt-run-state", has_text="stopped").wait_for()
    page.locator(ITEM, has_text="none training").wait_for()

    book.ask(BEHIND)  # a population that no cell shows is seen as a run is
    page.locator(ITEM, has_text="1 training").wait_for()
    row = page.locator(".nbopt-run", has_text="many")
    expect(row.locator(".nbopt-run-facts")).to_contain_text("going on 3 of 3")
    row.get_by_role("button", name="Pause: many").click()
    book.wait_for("many.state.name == 'PAUSED'")
    page.locator(ITEM, has_text="none training").wait_for()
    assert book.problems == []


def test_a_run_of_a_kernel_that_is_gone_leaves_the_status_bar_and_its_panel_says_so(notebook):
    book = notebook(RUN, "run", fresh=True)
    page = book.page
    book.run_all()
    page.locator(ITEM).wait_for()
    page.locator(".nbopt-figure .plotarea_background").first.wait_for(state="attached")
    book.ask("run.step(30)")
    open_list(page)
    page.evaluate("() => { jupyterapp.commands.execute('kernelmenu:restart'); }")  # as the Lab's own menu does
    page.locator(".jp-Dialog .jp-mod-accept").click()
    page.locator(".nbopt-status").wait_for(state="hidden")
    page.locator(".nbopt-runs").wait_for(state="detached")
    page.locator(".nbopt-panel.nbopt-disconnected").wait_for()
    assert_disconnected(page)
    page.wait_for_function("() => window.context.session?.kernel?.status === 'idle'")  # it is there again
