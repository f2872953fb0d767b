"""When its kernel ends: what is left of a run in the page, in the saved notebook and in the store."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.digits import DIGITS, wait_for_text
from tests.browser.lab import wait_until
from tests.browser.test_past import save
from tests.browser.test_status_bar import ITEM, RUN, open_list

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


def assert_disconnected(page) -> None:
    """Each panel has its last picture, and says that its kernel is gone; no widget has ipywidgets' red icon."""
    told = page.locator(".nbopt-facts > :is(.nbopt-state, .nbopt-lost):visible")
    expect(told).to_have_text(["Disconnected"] * page.locator(".nbopt-panel").count())
    expect(page.locator(".nbopt-chart path.line").first).to_be_visible()
    icons = "() => [...document.querySelectorAll('.nbopt-panel *')].map(e => getComputedStyle(e, '::before').content)"
    assert '"\uf127"' not in page.evaluate(icons)


def test_a_saved_notebook_tells_all_when_its_kernel_is_gone(notebook, tmp_path):
    from nbconvert import HTMLExporter  # takes a second

    book = notebook(DIGITS, "run = make()\nrun")
    book.run_all()
    page = book.page
    page.locator(".nbopt-start").click()
    book.wait_for("run.step_count > 100")
    book.ask("run.set(lr=0.003)")
    book.wait_for("len(run.journal.changes()) == 1 and run.step_count > 200")
    page.locator(".nbopt-pause").click()
    book.wait_for("run.state.name == 'PAUSED'")
    last, name = book.ask("[run.step_count, run.id]")

    def still():
        outputs = save(book)["cells"][1]["outputs"]
        return next(("".join(o["data"]["text/html"]) for o in outputs if "text/html" in o["data"]), "")

    html = wait_until(lambda: f"{last:,}" in (text := still()) and text, 30, "no still picture of the pause")
    assert len(html.encode()) <= 60 * 1024

    # The kernel dies: the last picture, greyed, and the line that goes on; no icon on each of its widgets.
    book.problems.clear()
    page.evaluate(
        "() => { window.context.session.kernel.requestExecute({code: 'import os; os.kill(os.getpid(), 9)'}) }"
    )
    page.locator(".nbopt-panel.nbopt-disconnected").wait_for()
    assert_disconnected(page)
    expect(page.locator(".nbopt-strip")).to_contain_text(f'nbopt.open("{name}"')
    page.locator(".jp-Dialog button").click()

    book.problems.clear()
    page.evaluate("() => window.context.shutdown()")
    book.open(fresh=False)  # the page, loaded again: another kernel
    page.locator("#jp-main-statusbar").wait_for()
    page.locator(".nbopt-status").wait_for(state="hidden")  # from the start of a page where there is no run
    expect(page.locator(".nbopt-still")).to_be_visible()
    wait_for_text(book, ".nbopt-still", "Learning rate 0.001 → 0.003")
    wait_for_text(book, ".nbopt-still code", f'nbopt.open("{name}"')
    assert page.locator(".nbopt-still svg path[stroke='#e0701b']").count() == 2  # validation, in each chart
    expect(page.get_by_text("model not found")).to_be_hidden()

    # And as a page of its own, read without a network.
    (tmp_path / "alone.html").write_text(HTMLExporter().from_filename(book.path)[0], encoding="utf-8")
    offline = page.context.browser.new_context(offline=True).new_page()
    offline.goto((tmp_path / "alone.html").as_uri(), wait_until="domcontentloaded")
    expect(offline.locator(".nbopt-still")).to_be_visible()
    expect(offline.locator(".nbopt-still svg").first).to_be_visible()
    offline.close()

    # The line of code it gives does open the run.
    code = page.locator(".nbopt-still code").inner_text()
    cell = f"{DIGITS}\nmodel = make(store=None).model\nX = X / 16\n{code}"
    book.execute(cell)
    assert book.ask("[run.id, run.step_count, run.state.name]") == [name, last, "PAUSED"]


def test_a_run_of_a_kernel_that_is_gone_leaves_the_status_bar_and_its_panel_says_so(notebook):
    book = notebook(RUN, "run")
    page = book.page
    book.run_all()
    page.locator(ITEM).wait_for()
    page.locator(".nbopt-figure .plotarea_background").first.wait_for(state="attached")
    book.ask("run.step(30)")
    wait_for_text(book, ".nbopt-facts", "30")
    open_list(page)
    page.evaluate("() => { jupyterapp.commands.execute('kernelmenu:restart'); }")  # as the Lab's own menu does
    page.locator(".jp-Dialog .jp-mod-accept").click()
    page.locator(".nbopt-status").wait_for(state="hidden")
    page.locator(".nbopt-runs").wait_for(state="detached")
    page.locator(".nbopt-panel.nbopt-disconnected").wait_for()
    assert_disconnected(page)
    page.wait_for_function("() => window.context.session?.kernel?.status === 'idle'")  # it is there again
