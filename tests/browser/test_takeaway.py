"""A run that has ended, in a real JupyterLab: how it goes on, what is taken away, and the list of runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.digits import DIGITS, applied_step, wait_for_text

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


def test_a_finished_run_goes_on_curves_are_downloaded_settings_go_into_a_new_cell_and_no_row_of_runs_wraps(notebook):
    cells = "run = make(epochs=2, name='a name that is rather long for a run')\nrun", "run.start(); run.wait(); 'below'"
    book = notebook(DIGITS, *cells)
    book.run_all()
    page = book.page
    wait_for_text(book, ".nbopt-state", "Finished")
    box = page.locator(".nbopt-hp-epochs input")
    box.fill("3")
    box.press("Enter")
    applied_step(book, "epochs")
    page.locator(".nbopt-start").click()
    book.wait_for("run.epoch == 3 and run.state.name == 'FINISHED'")
    expect(page.locator(".nbopt-start")).to_have_text("+ 2 epochs")  # as many as the run was given at first
    page.locator(".nbopt-start").click()
    book.wait_for("run.epoch == 5 and run.state.name == 'FINISHED'")
    page.locator(".nbopt-step").click()  # nothing left to do: said, not ignored
    wait_for_text(book, ".nbopt-error", "Set epochs higher")

    book.ask("run.branch(at=10, lr=0.02).id")
    page.locator(".nbopt-drawer-takeaway").click()
    for what, begins in (("csv", b"step,"), ("png", b"\x89PNG"), ("svg", b"<svg")):
        with page.expect_download() as caught:
            page.locator(f"[data-take={what}-download]").click()
        assert caught.value.suggested_filename.endswith(f".{what}")
        assert Path(caught.value.path()).read_bytes().startswith(begins)
    page.locator("[data-take=code-cell]").click()
    expect(page.locator(".jp-Cell")).to_have_count(4)
    expect(page.locator(".jp-Cell").nth(2)).to_contain_text("nbopt.Run(")  # right below the panel's
    expect(page.locator(".jp-Cell").nth(3)).to_contain_text("below")

    page.locator(".nbopt-drawer-runs").click()
    rows = page.locator(".nbopt-runs-view tbody tr")
    expect(rows.filter(has_text="branch at 10")).to_have_count(1)  # beside all that other tests have stored
    for width in (1400, 640):
        page.set_viewport_size({"width": width, "height": 1000})
        assert max(rows.evaluate_all("rows => rows.map(row => row.getBoundingClientRect().height)")) < 34
    assert book.problems == []
