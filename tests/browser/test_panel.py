"""The panel, in a real JupyterLab: what a person does with mouse and keyboard, read back from Python."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.digits import DIGITS, applied_step, wait_for_text
from tests.browser.lab import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]
CURVES = 4  # training and validation, raw and smoothed


def curve_paths(notebook) -> list[str]:
    paths = notebook.page.locator(".nbopt-chart-loss path.line")
    return [path or "" for path in paths.evaluate_all("paths => paths.map(path => path.getAttribute('d'))")]


# While it is dragged: the thumb, the number that tells its value, and the box that this stands on.
RECTANGLES = """control => [".noUi-handle", ".widget-readout", ".nbopt-box input"].map(
  part => control.querySelector(part).getBoundingClientRect().toJSON())"""
# The inputs whose text is longer than they are.
CUT = """panel => [...panel.querySelectorAll(".nbopt-box input")].filter(
  input => input.checkVisibility() && input.scrollWidth > input.clientWidth).map(input => input.value)"""


def drag(page, handle, dx: float) -> None:
    """Drag a slider; what it says under way stands on its box, beside the thumb."""
    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + dx, y, steps=8)
    thumb, told, box = page.locator(".nbopt-control:has(.noUi-active)").evaluate(RECTANGLES)
    page.mouse.up()
    assert told["left"] >= thumb["right"] and told["width"] > 0
    assert all(abs(told[side] - box[side]) <= 1 for side in ("left", "right", "top", "bottom"))


def test_a_learning_rate_moved_by_keyboard_and_mouse_acts_at_the_step_the_panel_names(notebook):
    book = notebook(DIGITS, "run = make()\nrun.speed = 200\nrun")
    book.run_all()
    page = book.page
    page.locator(".nbopt-panel").wait_for()

    # One step makes the optimizer; from then on it notes the rate of every step it does.
    page.locator(".nbopt-step").click()
    book.wait_for("run.step_count == 1 and run.state.name == 'PAUSED'")
    expect(page.locator(".nbopt-start")).to_have_text("Resume")
    book.ask("globals().update(rates=[run.optimizer.param_groups[0]['lr']])")
    book.ask("run.optimizer.register_step_pre_hook(lambda o, a, k: rates.append(o.param_groups[0]['lr'])).id")
    page.locator(".nbopt-start").click()
    book.wait_for("run.step_count > 60")
    before = curve_paths(book)

    handle = page.locator(".nbopt-hp-lr .noUi-handle")
    handle.focus()
    page.keyboard.press("ArrowRight")
    by_key = applied_step(book, "lr")
    assert book.wait_for(f"len(rates) > {by_key} and rates[{by_key} - 1 : {by_key} + 1]") == [0.001, 0.0012]

    drag(page, handle, -60)
    book.wait_for("run.hyperparams['lr'] < 1e-3")
    book.wait_for("len(run.journal.changes()) == 2")
    new = book.ask("run.hyperparams['lr']")
    change = book.ask("list(run.journal.changes()[-1][:5])")
    assert change[1:] == ["lr", 0.0012, new, "panel"]
    wait_for_text(book, ".nbopt-hp-lr .nbopt-applied", f"{change[0]:,}")
    assert book.wait_for(f"len(rates) > {change[0]} and rates[{change[0]} - 1 : {change[0]} + 1]") == [0.0012, new]

    book.wait_for(f"run.step_count > {change[0]} + 60")
    wait_for_text(book, ".nbopt-chart-loss .nbopt-over-note", "Learning rate 0.001 → 0.0012")
    expect(page.locator(".nbopt-chart-loss .nbopt-over-mark")).to_have_count(2)  # a line for each of the changes
    wait_until(lambda: curve_paths(book)[-CURVES:] != before[-CURVES:], 30, "the curves never grew")

    page.locator(".nbopt-pause").click()
    wait_for_text(book, ".nbopt-state", "Paused")
    book.ask("run.set(weight_decay=2.44141e-7, batch_size=10**18, dropout=0.123456)")
    for name, text in (("weight_decay", "2.44141e-7"), ("batch_size", str(10**18)), ("dropout", "0.123456")):
        expect(page.locator(f".nbopt-hp-{name} .nbopt-box input")).to_have_value(text)
    assert page.locator(".nbopt-panel").evaluate(CUT) == []
    book.ask("run.set(batch_size=64)")
    at_rest = book.ask("run.step_count")
    page.locator(".nbopt-step").click()
    book.wait_for(f"run.step_count == {at_rest + 1} and run.state.name == 'PAUSED'")
    wait_for_text(book, ".nbopt-facts", f"{at_rest + 1:,}")
    wait_for_text(book, ".nbopt-state", "Paused")
    page.locator(".nbopt-start").click()
    book.wait_for(f"run.step_count > {at_rest + 20}")
    page.locator(".nbopt-stop").click()
    wait_for_text(book, ".nbopt-state", "Stopped")
    assert book.ask("run.state.name") == "STOPPED"
    assert book.problems == []


# A cell that ends only once both were heard: the slider and the button, in this order.
BUSY = """
import time
end = time.monotonic() + 60
while run.hyperparams['lr'] == 1e-3 and time.monotonic() < end: time.sleep(0.01)
heard = run.hyperparams['lr']
while run.state.name == 'RUNNING' and time.monotonic() < end: time.sleep(0.01)
in_time = time.monotonic() < end
"""


def test_two_panels_of_one_run_are_heard_while_a_cell_runs_and_stay_in_step_and_two_runs_never_meet(notebook):
    book = notebook(DIGITS, "run = make()\nrun", "run", "other = make()\nother")
    book.run_all()
    page = book.page
    panels = page.locator(".nbopt-panel")
    panels.nth(2).wait_for()
    box = panels.nth(0).locator(".nbopt-hp-weight_decay input")
    box.fill("0.01")
    box.press("Enter")
    panels.nth(1).locator(".nbopt-hp-weight_decay .nbopt-applied").wait_for()
    expect(panels.nth(1).locator(".nbopt-hp-weight_decay input")).to_have_value("0.01")
    panels.nth(1).locator(".nbopt-start").click()
    book.wait_for("run.step_count > 5")

    page.evaluate("code => { window.cell = window.context.session.kernel.requestExecute({code}); }", BUSY)
    page.wait_for_function("() => window.context.session.kernel.status === 'busy'")
    panels.nth(0).locator(".nbopt-hp-lr .noUi-handle").focus()
    page.keyboard.press("ArrowRight")
    applied_step(book, "lr")
    panels.nth(0).locator(".nbopt-pause").click()
    for index in (0, 1):
        panels.nth(index).locator(".nbopt-state", has_text="Paused").wait_for()
    page.evaluate("() => window.cell.done")
    assert book.ask("[heard, in_time]") == [0.0012, True]
    expect(panels.nth(2).locator(".nbopt-state")).to_have_text("Ready")
    assert book.ask("[other.hyperparams['weight_decay'], other.step_count, len(other.journal)]") == [0.0, 0, 0]
    assert book.problems == []


def test_what_is_illegal_is_refused_in_words_and_a_change_is_undone_reset_and_given_up_by_hand(notebook):
    book = notebook(DIGITS, "run = make()\nrun", "run.step(3)")
    book.run_all()
    page = book.page
    box = page.locator(".nbopt-hp-lr .nbopt-box input")
    for text in ("-1", "nan", "fast"):
        box.fill(text)
        box.press("Enter")
        wait_for_text(book, ".nbopt-hp-lr .nbopt-problem", text)
    target = page.locator(".nbopt-target input")
    target.fill("soon")
    target.press("Enter")
    page.locator(".nbopt-rewind").click()
    wait_for_text(book, ".nbopt-error", "soon")
    assert book.ask("[run.hyperparams['lr'], run.journal.changes(), run.step_count]") == [1e-3, [], 3]

    rate, box = page.locator(".nbopt-hp-lr"), page.locator(".nbopt-hp-lr .nbopt-box input")
    handle = rate.locator(".noUi-handle")
    rate.locator(".nbopt-help").wait_for()
    expect(rate.locator(".nbopt-differs")).to_have_count(0)
    box.fill("0,02")
    box.press("Enter")
    applied_step(book, "lr")
    expect(rate.locator(".nbopt-problem")).to_have_count(0)
    expect(box).to_have_value("0.02")
    expect(rate.locator(".nbopt-differs")).to_be_visible()
    box.press("Control+a")
    box.press_sequentially("0.7")
    box.press("Control+z")  # takes back letters
    box.press_sequentially("0.7")
    box.press("Escape")
    expect(box).to_have_value("0.02")
    box.press("Control+z")  # nothing is being typed any more
    book.wait_for("run.journal.changes()[-1].source == 'undo'")
    assert book.ask("run.hyperparams['lr']") == 1e-3

    # Escape while a slider is dragged puts it back, and nothing is asked for.
    place = handle.bounding_box()
    x, y = place["x"] + place["width"] / 2, place["y"] + place["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 30, y, steps=5)
    expect(rate.locator(".widget-readout")).not_to_have_text("0.001")
    page.keyboard.press("Escape")
    page.mouse.move(x + 40, y, steps=2)
    page.mouse.up()
    expect(rate.locator(".widget-readout")).to_have_text("0.001")

    handle.focus()
    page.keyboard.press("ArrowRight")
    book.wait_for("run.journal.changes()[-1].new == 0.0012")
    assert book.ask("len(run.journal.changes())") == 3  # Escape asked for nothing
    rate.locator(".nbopt-label").dblclick()
    book.wait_for("run.hyperparams['lr'] == 1e-3")
    page.locator(".nbopt-undo").click()
    book.wait_for("run.hyperparams['lr'] == 0.0012")

    # Help, by keyboard: the slider, the box, the question mark, and the button that it shows.
    box.focus()
    page.keyboard.press("Tab")
    expect(rate.locator(".nbopt-help")).to_be_focused()
    page.keyboard.press("Enter")
    expect(rate.locator(".nbopt-about")).to_contain_text("In code: lr.")
    rate.locator(".nbopt-reset").click()
    book.wait_for("run.hyperparams['lr'] == 1e-3")

    # Below it, what each value would do: in the place that it has before anybody asks, read and clicked.
    below = page.locator(".nbopt-hp-batch_size")
    place = below.bounding_box()["y"]
    rate.locator(".nbopt-if-offer").click()
    cell = rate.locator(".nbopt-if-cell", has_not=page.locator(".nbopt-if-now")).nth(6)
    cell.hover()
    expect(rate.locator(".nbopt-if-says")).to_contain_text("in 10 steps")
    said = cell.get_attribute("aria-label")
    assert below.bounding_box()["y"] == place
    cell.click()
    book.wait_for("run.hyperparams['lr'] != 1e-3")
    label = book.ask("nbopt.formatting.number(run.hyperparams['lr'])")
    assert said.startswith(f"lr {label}: ")
    assert applied_step(book, "lr") == book.ask("run.journal.changes()[-1].step") == 3

    # What is legal and not offered widens the control; one stop below its new end is the end that was offered.
    box.fill("25")
    box.press("Enter")
    book.wait_for("run.hyperparams['lr'] == 25")
    expect(handle).to_have_attribute("aria-valuetext", "25")
    handle.focus()
    page.keyboard.press("ArrowLeft")
    book.wait_for("run.hyperparams['lr'] == 1")
    assert book.problems == []
