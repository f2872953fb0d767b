"""Panels of runs that train, are guarded, fail and end, in a real JupyterLab."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.digits import DIGITS, wait_for_text

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

THOUSANDS = """() => [...document.querySelector(".nbopt-figure").querySelectorAll(".axis text")].some(
  (number) => parseFloat(number.textContent.replace(",", "")) >= 1000)"""


def test_a_zoom_survives_updates_and_follow_returns_to_the_tail(notebook):
    book = notebook(DIGITS, "run = make()\nrun", "run.step(1000)\nrun.speed = 200\nrun.start()")
    book.run_all()
    page = book.page
    figure = page.locator(".nbopt-figure").first
    figure.scroll_into_view_if_needed()
    page.wait_for_function(THOUSANDS)  # drawn, not just done: what is dragged over is what the page shows
    box = figure.bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 60)
    page.locator(".nbopt-tip", has_text="training").first.wait_for()  # the read-out under the pointer
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 200, steps=5)
    page.mouse.up()
    span = "(lambda p: p.charts[0]._x)(__import__('nbopt.notebook.panel.panel', fromlist=['x']).panel_of(run))"
    book.wait_for(f"{span}.min > 20")
    zoomed = book.ask(f"[{span}.min, {span}.max]")
    step = book.ask("run.step_count")
    book.wait_for(f"run.step_count > {step + 60}")
    assert book.ask(f"[{span}.min, {span}.max]") == zoomed
    page.locator(".nbopt-toolbar button", has_text="Show all").click()
    book.wait_for(f"{span}.min < 20 and {span}.max > {step}")

    # What lies over the curves, what is read under the pointer, and each loss's own scale.
    book.ask("run.set(lr=0.002, weight_decay=1e-4)")
    wait_for_text(book, ".nbopt-chart-loss .nbopt-over-note", "Learning rate 0.001 → 0.002\nWeight decay 0 → 1e-4")
    wait_for_text(book, ".nbopt-chart-loss .nbopt-over-note", "best ")
    button = page.get_by_role("button", name="log", exact=True)
    expect(button).to_have_count(1)  # accuracy has none
    button.press("Enter")
    expect(button).to_have_attribute("aria-pressed", "true")
    book.ask("run.pause()")
    book.wait_for("run.state.name == 'PAUSED'")
    area = page.locator(".nbopt-chart-loss .plotarea_background").bounding_box()
    page.mouse.move(area["x"] + 0.5 * area["width"], area["y"] + 0.5 * area["height"])
    tip = page.locator(".nbopt-chart-loss .nbopt-tip")
    expect(tip).to_contain_text(re.compile(r"training \S+ \(\S+"))  # the bold line's, and the raw values there
    book.ask("run.rewind(int(run.step_count * 0.4))")
    wait_for_text(book, ".nbopt-chart-loss .nbopt-key", "before the rewind")
    expect(tip).to_contain_text("before the rewind, training")  # under a pointer that rests, too
    page.mouse.move(area["x"] + 0.6 * area["width"], area["y"] + 0.5 * area["height"])
    expect(tip).to_contain_text("before the rewind, training")
    assert "\ntraining" not in tip.inner_text()  # there is none there
    assert book.problems == []


def test_demo_digits_inserts_its_code_and_shows_a_ready_panel(notebook):
    book = notebook("%load_ext nbopt", "%nbopt demo digits", "%nbopt")
    book.run_all()
    page = book.page
    page.locator(".nbopt-panel .nbopt-start").click()
    book.wait_for("run.history.last('val_accuracy') and run.history.last('val_accuracy') > 0.9")
    wait_for_text(book, ".jp-OutputArea-output", "Sequential")
    wait_for_text(book, ".jp-Cell", "load_digits")
    page.locator(".nbopt-stop").click()
    book.wait_for("run.state.name == 'STOPPED'")
    assert book.problems == []


BOXES = """() => [...document.querySelectorAll(
    ':is(.nbopt-header, .nbopt-toolbar, .nbopt-footer) :is(button, input, select, summary), '
    + '.nbopt-control, .nbopt-strip, .nbopt-chart-head, .nbopt-figure'
)].map(item => { const { x, y } = item.getBoundingClientRect(); return [Math.round(x), Math.round(y)]; })"""


# Whether a text that is longer than its place shows its end.
ENDS_IN_SIGHT = """pane => {
    const range = document.createRange(), text = pane.lastChild, place = pane.getBoundingClientRect();
    range.setStart(text, text.length - 9);
    range.setEnd(text, text.length - 1);
    const end = range.getBoundingClientRect();
    return pane.scrollHeight > pane.clientHeight && place.top < end.top && end.bottom < place.bottom;
}"""

# Trains well until it is told not to.
NET = """
class Net(nn.Linear):
    def forward(self, x):
        if broken: raise RuntimeError('<b>tired</b> of this')
        return super().forward(x)
broken = False
"""


def test_no_control_moves_when_a_run_starts_pauses_is_guarded_fails_or_ends_and_the_panel_has_keys(notebook):
    run = "run = nbopt.Run(Net(64, 10), train=(X / 16, y), val=0.2, epochs=100_000, store=None)\nrun.speed = 200\nrun"
    book = notebook(DIGITS + NET, run, height=1000)
    book.run_all()
    page = book.page
    page.locator(".nbopt-panel .plotarea_background").first.wait_for()
    seen: dict[int, object] = {}

    def look(state: str) -> None:
        for width in (640, 900, 1200, 1400, 1900):
            page.set_viewport_size({"width": width, "height": 1000})
            page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
            page.evaluate("() => document.querySelector('.nbopt-header').scrollIntoView()")
            boxes = page.evaluate(BOXES)
            assert seen.setdefault(width, boxes) == boxes, f"{state}, {width} px wide"

    look("ready")
    page.locator(".nbopt-strip").click()  # on no input: the panel has the focus
    page.keyboard.press("s")
    book.wait_for("run.step_count == 1 and run.state.name == 'PAUSED'")
    page.locator(".nbopt-start:enabled", has_text="Resume").wait_for()  # a key presses what the page offers
    page.keyboard.press(" ")
    book.wait_for("run.step_count > 30")
    look("training")
    page.locator(".nbopt-pause:enabled").wait_for()
    page.keyboard.press(" ")
    book.wait_for("run.state.name == 'PAUSED'")
    look("paused")
    page.locator(".nbopt-start").click()
    book.ask("run.set(lr=1e6)")
    page.locator(".nbopt-guarded", has_text="The guard went back to step").wait_for()
    look("guarded")
    page.locator(".nbopt-dismiss").click()
    page.locator(".nbopt-guarded").wait_for(state="detached")
    book.ask("globals().update(broken=True)")
    wait_for_text(book, ".nbopt-error", "press Resume")
    look("failed")
    wait_for_text(book, ".nbopt-error", "<b>tired</b> of this")  # as text: never as HTML
    page.locator(".nbopt-more > summary").click()
    assert page.locator(".nbopt-unfolded pre").evaluate(ENDS_IN_SIGHT)  # where the user's own line stands
    book.ask("globals().update(broken=False)")
    book.ask("run.set(epochs=run.epoch + 1)")
    page.locator(".nbopt-start").click()
    page.locator(".nbopt-error").wait_for(state="detached")
    wait_for_text(book, ".nbopt-note", "epochs done")
    look("finished")
    assert page.evaluate("() => window.context.path") and len(book.page.locator(".jp-Cell").all()) == 2  # `s`, no cell
    assert book.problems == []
