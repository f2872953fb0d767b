"""A study steered by clicks, in a real JupyterLab."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.lab import LOOKS, barriers, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

STUDY = """import time
import nbopt, torch
from torch import nn
class Net(nn.Linear):
    def forward(self, x):
        time.sleep(0.005)  # the core is for the page
        return super().forward(x)
x = torch.randn(200, 4)
study = nbopt.Study(
    Net(4, 2), (x, (x[:, 0] > 0).long()), 0.25, space={"lr": (1e-5, 1.0), "optimizer": ["adam", "sgd"]},
    epochs=1_000_000, trials=50, sampler="random", executor="threads", slots=1, device="cpu",
)
study"""


def test_a_trial_is_stopped_one_is_cloned_and_a_brush_narrows_the_space(notebook):
    book = notebook(STUDY)
    book.run_all()
    page = book.page
    panel = page.locator(".nbopt-study-panel")
    panel.locator(".nbopt-transport .nbopt-start").click()
    book.wait_for("study.trials and len(study.trials[0].reports) > 3")
    row = panel.locator("tr[data-member='0']")
    row.click()
    expect(row).to_have_attribute("aria-selected", "true")
    expect(panel.locator(".nbopt-trial > b")).to_have_text("Trial 0")
    panel.locator("[data-act=end]").click()
    book.wait_for("study.trials[0].state == 'pruned' and len(study.trials) == 2")

    # Of the learning rates, those below the middle, by the pointer; one optimizer, by the keyboard.
    panel.locator("[data-axis=lr]").scroll_into_view_if_needed()
    strip = panel.locator("[data-axis=lr] .nbopt-par-strip").bounding_box()
    across, low = strip["x"] + strip["width"] / 2, strip["y"] + strip["height"]
    page.mouse.move(across, low - 0.15 * strip["height"])
    page.mouse.down()
    page.mouse.move(across, low - strip["height"] / 2, steps=3)
    page.mouse.up()
    expect(panel.locator(".nbopt-par em")).to_contain_text("trials within the brush")
    panel.locator("[data-axis=optimizer] button").last.focus()
    page.keyboard.press("Enter")
    panel.locator(".nbopt-narrow").click()
    book.wait_for("study.journal[-1].name == 'narrow'")
    expect(panel.locator(".nbopt-dimension[data-name=optimizer]")).to_have_class("nbopt-dimension nbopt-narrowed")
    for trial in (1, 2, 3):
        book.ask(f"study.stop_trial({trial})")
        book.wait_for(f"len(study.trials) > {trial + 1}")
    given = book.ask("[[trial.values['lr'], trial.values['optimizer']] for trial in study.trials[2:]]")
    assert len(given) == 3 and all(1e-5 <= rate <= 4e-3 and name == "sgd" for rate, name in given)

    panel.locator(".nbopt-transport .nbopt-pause").click()
    book.wait_for("study.state.name == 'PAUSED'")
    panel.get_by_role("button", name="Clear the brush").click()
    row.click()
    rate = panel.locator(".nbopt-dimension[data-name=lr] input")
    expect(rate).not_to_have_value("")
    rate.fill("0.25")
    panel.locator("[data-act=clone]").click()
    run = page.locator(".nbopt-panel:not(.nbopt-study-panel)")
    run.locator(".nbopt-figure .plotarea_background").first.wait_for()
    steps = book.ask("study.trials[0].steps")
    run.locator(".nbopt-step").click()
    wait_until(lambda: f"{steps + 1:,}" in run.locator(".nbopt-fact-step").inner_text(), 30, "the run does not go on")
    entry = book.ask("study.journal[-1]._asdict()")
    assert (entry["name"], entry["source"], entry["new"]["trial"], entry["new"]["lr"]) == ("clone", "panel", 0, 0.25)
    assert barriers(page, ".nbopt-study-panel", LOOKS[-1:]) == []
    assert book.problems == []
