"""What is folded below the charts, in a real JupyterLab: the list of runs, and what is taken away."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.digits import DIGITS

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


def test_curves_are_downloaded_settings_go_into_a_new_cell_and_no_row_of_runs_wraps(notebook):
    book = notebook(DIGITS, "run = make(name='a name that is rather long for a run')\nrun", "'below'")
    book.run_all()
    page = book.page
    book.ask("run.step(30)")
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
