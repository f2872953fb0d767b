"""Going back, branching off, and coming back: what is not lost, in a real JupyterLab."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import expect

from tests.browser.lab import LOOKS, barriers, wait_until
from tests.browser.test_panel import DIGITS, wait_for_text

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


def click_on_chart(book, share: float, panel: int = 0) -> None:
    """Click on the loss chart, at a share of its width."""
    area = book.page.locator(".nbopt-panel").nth(panel).locator(".plotarea_background").first.bounding_box()
    book.page.mouse.click(area["x"] + share * area["width"], area["y"] + area["height"] / 2)


def save(book) -> dict:
    """Save the notebook and return what is in the file."""
    book.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    return json.loads(book.path.read_text())


def test_a_click_on_the_curve_takes_the_run_back_and_a_branch_goes_on_beside_it(notebook):
    book = notebook(DIGITS, "run = make(seed=3)\nrun")
    book.run_all()
    page = book.page
    page.locator(".nbopt-figure .plotarea_background").first.wait_for()
    book.ask("run.step(200)")
    book.ask("run.set(lr=0.01)")
    book.ask("run.step(200)")
    book.wait_for("run.step_count == 400 and run.state.name == 'PAUSED'")
    wait_for_text(book, ".nbopt-status, .nbopt-facts", "400")

    click_on_chart(book, 0.25)
    target = page.locator(".nbopt-target input").first
    expect(target).not_to_have_value("")
    picked = int(target.input_value())
    assert 60 < picked < 140
    page.locator(".nbopt-rewind").click()
    book.wait_for(f"run.step_count == {picked} and run.state.name == 'PAUSED'")
    assert book.ask("list(run.journal[-1][1:5])") == ["rewind", 400, picked, "panel"]
    assert book.ask("run.hyperparams['lr']") == 1e-3
    expect(target).to_have_value("")
    wait_for_text(book, ".nbopt-chart-loss .nbopt-key", "before the rewind")

    # From there it goes as it would have gone, and so does its branch, at another rate.
    target.fill("50")
    target.press("Enter")
    page.locator(".nbopt-branch").click()
    expect(page.locator(".nbopt-panel")).to_have_count(2)
    book.wait_for("run.branches[0].step_count == 50 and run.branches[0].state.name == 'PAUSED'")
    branch = page.locator(".nbopt-panel").nth(1)
    branch.locator(".nbopt-figure .plotarea_background").first.wait_for()
    expect(branch).to_be_in_viewport(ratio=0.95)  # by itself, and the charts of the first run above it
    expect(page.locator(".nbopt-chart-accuracy").first).to_be_in_viewport(ratio=0.5)
    branch.locator(".nbopt-hp-lr .noUi-handle").focus()
    page.keyboard.press("ArrowRight")
    book.wait_for("run.branches[0].hyperparams['lr'] == 0.0012")
    branch.locator(".nbopt-start").click()
    book.wait_for("run.branches[0].step_count > 150")
    branch.locator(".nbopt-pause").click()
    wait_for_text(book, ".nbopt-chart-loss .nbopt-key", "branch at 50")  # drawn beside the first run
    wait_for_text(book, ".nbopt-chart-loss .nbopt-key", "parent")
    assert book.ask("[run.step_count, run.hyperparams['lr']]") == [picked, 1e-3]
    page.set_viewport_size({"width": 1900, "height": 1000})
    expect(branch.locator(".nbopt-figure").first).to_have_css("height", "200px")  # small on a wide screen, too
    assert book.problems == []


def test_a_cell_run_again_pauses_its_earlier_run_and_keeps_it(notebook):
    book = notebook(DIGITS, "run = make()\nrun.speed = 100\nrun.start()\nrun", "first = run\nfirst")
    book.run_all()
    book.wait_for("run.step_count > 20")
    page = book.page
    page.evaluate("() => window.jupyterapp.shell.currentWidget.content.activeCellIndex = 1")
    book.command("notebook:run-cell")
    book.wait_for("run is not first and run.step_count > 20 and first.state.name == 'PAUSED'")
    wait_for_text(book, ".nbopt-panel .nbopt-note", "run again")  # in the earlier one's own panel
    wait_for_text(book, ".nbopt-footer", f"%nbopt show {book.ask('first.id')}")  # and in that of the new one
    book.ask("first.resume()")
    book.wait_for("first.state.name == 'RUNNING'")
    book.ask("[run.stop(), first.stop()]")
    assert "\n".join(book.problems) == ""


RATES = """import nbopt, torch
from torch import nn
torch.manual_seed(0)
x = torch.randn(400, 4)
population = nbopt.Population(
    nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), (x, (x[:, 0] > 0).long()), 0.25,
    lr=nbopt.spread(1e-4, 1, 12), epochs=1_000_000, device="cpu",
)
population"""

# Places of a canvas that are not as the ground is.
INKED = """canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data
    .filter((value, k) => k % 4 === 3 && value > 0).length"""


def test_a_fan_grows_a_member_is_stopped_by_a_click_and_one_goes_on_as_a_run(notebook):
    book = notebook(RATES)
    book.run_all()
    page = book.page
    panel = page.locator(".nbopt-population")
    fan = panel.locator("figure canvas").first
    fan.wait_for()
    wait_for_text(book, ".nbopt-champion", "nothing is validated yet")
    panel.locator(".nbopt-transport .nbopt-start").click()
    wait_for_text(book, ".nbopt-champion", "Best so far: val loss")
    book.wait_for("population.epoch > 3")
    few = fan.evaluate(INKED)
    book.wait_for("population.epoch > 12")
    wait_until(lambda: fan.evaluate(INKED) > few, 30, "the fan does not grow")
    panel.locator(".nbopt-transport .nbopt-pause").click()
    book.wait_for("population.state.name == 'PAUSED'")

    row = panel.locator("tr[data-member='4']")
    row.click()
    expect(row).to_have_attribute("aria-selected", "true")
    expect(panel.locator(".nbopt-chosen-title")).to_contain_text("Member 4")
    panel.locator(".nbopt-member-end").click()
    book.wait_for("population[4].state.name == 'STOPPED'")
    assert book.ask("[m.number for m in population if m.state.is_ended]") == [4]

    points = panel.locator("figure").nth(1).locator("canvas").last.bounding_box()
    page.mouse.move(points["x"] + 55, points["y"] + 2)
    page.mouse.down()
    page.mouse.move(points["x"] + points["width"] / 2, points["y"] + points["height"] - 32, steps=3)
    page.mouse.up()
    expect(panel.locator(".nbopt-fan-count span")).to_have_text("4 of 12 members chosen")  # without the first
    box = panel.locator(".nbopt-hp-weight_decay .nbopt-box input")
    box.fill("0.01")
    box.press("Enter")
    book.wait_for("[m.number for m in population if m.hyperparams['weight_decay']] == [1, 2, 3, 4]")

    panel.locator(".nbopt-champion").click()
    best = book.ask("population.best.number")
    expect(panel.locator(".nbopt-chosen-title")).to_contain_text(f"Member {best}")
    panel.locator(".nbopt-member-go-on").click()
    run = page.locator(".nbopt-panel:not(.nbopt-population)")
    run.locator(".nbopt-figure .plotarea_background").first.wait_for()
    steps = book.ask("population[population.best.number].step_count")
    run.locator(".nbopt-step").click()
    wait_until(lambda: f"{steps + 1:,}" in run.locator(".nbopt-fact-step").inner_text(), 30, "the run does not go on")
    assert book.ask("population.step_count") == steps
    assert barriers(page, ".nbopt-population", LOOKS[-1:]) == []
    assert book.problems == []
