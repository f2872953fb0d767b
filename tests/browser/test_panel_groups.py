"""The groups of a panel: folded, unfolded, searched, and made when they are needed."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.test_panel import DIGITS

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


def test_groups_fold_are_searched_and_have_their_controls_made_when_they_are_opened_or_found(notebook):
    book = notebook(DIGITS, "run = make()\nrun")
    book.run_all()
    page = book.page
    schedule, patience = page.locator(".nbopt-hp-schedule"), page.locator(".nbopt-hp-patience")
    page.locator(".nbopt-search").wait_for()
    title = page.locator(".nbopt-group:has(.nbopt-hp-schedule) .nbopt-group-title").first
    expect(title).to_have_attribute("aria-expanded", "true")
    title.click()
    expect(schedule).to_be_hidden()
    expect(title).to_have_attribute("aria-expanded", "false")
    page.locator(".nbopt-search").fill("lr_scheduler")  # as others call it
    expect(schedule).to_be_visible()
    expect(patience).to_be_hidden()
    page.locator(".nbopt-search").fill("momentum")  # of an optimizer that is not chosen
    expect(page.locator(".nbopt-hp-momentum")).to_contain_text("Acts where Optimizer is sgd or rmsprop.")
    page.locator(".nbopt-search").fill("momentun")
    expect(page.locator(".nbopt-nothing")).to_have_text("No control is called “momentun”.")
    page.locator(".nbopt-search").fill("")
    expect(page.locator(".nbopt-nothing")).to_be_empty()
    expect(page.locator(".nbopt-hp-momentum")).to_be_hidden()
    expect(schedule).to_be_hidden()
    title.focus()
    page.keyboard.press("Enter")
    expect(schedule).to_be_visible()

    # What is folded from the start is made once it is opened, or something in it is found.
    expect(page.locator(".nbopt-hp-dropout .noUi-handle")).to_be_visible()
    expect(page.locator(".nbopt-hp-mixup")).to_have_count(0)
    book.ask("run.set(mixup=0.25) or run.step(3)")
    title = page.locator(".nbopt-group-title", has_text="Augmentation")
    title.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".nbopt-hp-mixup .nbopt-applied")).to_have_text("applied at step 0")
    box, handle = page.locator(".nbopt-hp-mixup input"), page.locator(".nbopt-hp-mixup .noUi-handle")
    expect(box).to_have_value("0.25")
    for part in (box, handle):
        expect(part).to_have_attribute("aria-label", "Mixup")
    expect(title).to_be_focused()
    handle.focus()
    page.keyboard.press("ArrowRight")
    book.wait_for("run.hyperparams['mixup'] > 0.25")
    expect(page.locator(".nbopt-hp-mixup .nbopt-applied")).to_have_text("applied at step 3")

    page.locator(".nbopt-search").fill("clip")
    expect(page.locator(".nbopt-hp-clip_norm")).to_be_visible()
    expect(page.locator(".nbopt-hp-max_norm")).to_be_hidden()  # came with it, but was not looked for
    expect(page.locator(".nbopt-hp-mixup")).to_be_hidden()
    expect(page.locator(".nbopt-hp-precision")).to_have_count(0)
    page.locator(".nbopt-search").fill("")
    expect(page.locator(".nbopt-hp-clip_norm")).to_be_hidden()

    # An optimizer swapped in brings its own controls, and offers its usual rate.
    page.locator(".nbopt-group-title", has_text="Optimizer settings").click()
    page.locator(".nbopt-hp-beta1").wait_for()
    expect(page.locator(".nbopt-hp-momentum")).to_be_hidden()
    page.locator(".nbopt-hp-optimizer select").select_option("sgd")
    page.locator(".nbopt-hp-momentum").wait_for()
    page.locator(".nbopt-hp-beta1").wait_for(state="hidden")
    expect(page.locator(".nbopt-hp-momentum .noUi-handle")).to_have_attribute("aria-label", "Momentum")
    assert book.ask("type(run.optimizer).__name__") == "SGD"
    page.locator(".nbopt-hp-nesterov input").check()
    book.wait_for("run.hyperparams['nesterov']")
    page.locator(".nbopt-offer", has_text="Set Learning rate 0.01, usual with sgd").click()
    book.wait_for("run.hyperparams['lr'] == 0.01")
    expect(page.locator(".nbopt-offer")).to_be_hidden()

    # What is typed is not lost when a strategy is swapped meanwhile.
    box = page.locator(".nbopt-hp-warmup input")
    box.fill("12")
    book.ask("run.set(optimizer='rmsprop')")
    page.locator(".nbopt-hp-alpha").wait_for()
    expect(box).to_be_focused()
    expect(box).to_have_value("12")
    assert book.problems == []
