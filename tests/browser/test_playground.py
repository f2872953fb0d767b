"""The playground, in a real JupyterLab: the boundary moves while it trains, and a lesson changes all there is."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.lab import LOOKS, barriers, wait_until
from tests.browser.test_panel import wait_for_text

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

# What is drawn, as a number: the canvas is there, has a size, and is not of one colour.
DRAWN = """canvas => {
    const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    let sum = 0;
    for (let k = 0; k < data.length; k += 4) sum = (31 * sum + data[k] + 3 * data[k + 1] + 7 * data[k + 2]) % 1000003;
    return canvas.clientWidth > 100 && canvas.clientHeight > 100 ? sum : null;
}"""

# How far below the playground's top.
DEPTH = """part => part.getBoundingClientRect().top
    - part.closest('.nbopt-playground').getBoundingClientRect().top"""

# Each slider of the playground's own, with its name for a screen reader and its value.
SLIDERS = """root => [...root.querySelectorAll('.nbopt-inputs .noUi-handle')].map(
    handle => [handle.getAttribute('aria-label'), handle.getAttribute('aria-valuetext')])"""


def test_the_boundary_moves_while_it_trains_and_lessons_change_data_and_controls(notebook):
    book = notebook("%load_ext nbopt\n%nbopt demo playground")
    book.run_all()
    page = book.page
    field, network = page.locator(".nbopt-board-field"), page.locator(".nbopt-board-network")
    page.locator(".nbopt-figure .plotarea_background").first.wait_for()
    book.wait_for("playground.board.frame > 0")
    for picture, what in (field, "Decision boundary on Moons"), (network, "2 hidden layers"):
        expect(picture).to_have_attribute("role", "img")
        expect(picture).to_have_attribute("aria-label", re.compile(what))
    page.wait_for_function("() => document.querySelectorAll('.nbopt-inputs .noUi-handle[aria-valuetext]').length === 4")
    sliders = dict(page.locator(".nbopt-playground").evaluate(SLIDERS))
    assert sliders == {"Noise": "0.15", "Points": "200", "Layers": "2", "Units": "6"}

    # Frames are answered and drawn as long as it trains.
    before = [field.evaluate(DRAWN), network.evaluate(DRAWN)]
    page.locator(".nbopt-start").click()
    frame = book.ask("playground.board.frame")
    book.wait_for(f"playground._bridge._answered > {frame} + 5")
    after = [field.evaluate(DRAWN), network.evaluate(DRAWN)]
    assert None not in before + after and before[0] != after[0] and before[1] != after[1]

    # Other data, from the keyboard: another run, in training as this one was.
    page.locator(".nbopt-play-noise .noUi-handle").focus()
    page.keyboard.press("ArrowRight")
    book.wait_for("playground.setup.noise == 0.2 and playground.run.step_count > 20")
    frame = book.ask("playground.board.frame")
    book.wait_for(f"playground._bridge._answered > {frame} + 5")
    expect(page.locator(".nbopt-panel")).to_have_count(1)

    # Board and Start in one view, where the window is narrow, too.
    for width in (640, 900):
        page.set_viewport_size({"width": width, "height": 860})
        page.locator(".nbopt-play-stage").evaluate("stage => stage.scrollIntoView()")
        for part in (field, network, page.locator(".nbopt-start")):
            expect(part).to_be_in_viewport(ratio=1)
    page.set_viewport_size({"width": 1400, "height": 1100})

    # A lesson sets up data, network and controls, at rest, and its text has the place of the one before.
    place = page.locator(".nbopt-play-stage").evaluate(DEPTH)
    page.locator(".nbopt-play-batch_size").click()
    book.wait_for("playground.setup.data == 'xor' and playground.run.state.name == 'CREATED'")
    expect(page.locator(".nbopt-play-data select")).to_have_value("Xor")
    expect(page.locator(".nbopt-hp-batch_size input")).to_have_value("2")
    expect(page.locator(".nbopt-hp-optimizer select")).to_have_value("sgd")
    wait_for_text(book, ".nbopt-play-text [role=status]", "Batch size and noise.")
    assert page.locator(".nbopt-play-stage").evaluate(DEPTH) == place
    page.locator(".nbopt-start").click()
    book.wait_for("playground.run.step_count > 20")

    # The race takes the place of run and panel.
    page.locator(".nbopt-play-race").click()
    expect(page.locator(".nbopt-panel")).to_have_count(0)
    start = page.locator(".nbopt-race .nbopt-board-field").evaluate(DRAWN)
    page.locator(".nbopt-play-race-start").click()
    book.wait_for("playground.race.racers[0].run.step_count > 10")
    wait_for_text(book, ".nbopt-race-table", "RMSprop")
    page.locator(".nbopt-play-race-pause").click()
    raced = page.locator(".nbopt-race .nbopt-board-field")
    wait_until(lambda: raced.evaluate(DRAWN) != start, 30, "the field of the race was never drawn anew")

    assert barriers(page, ".nbopt-playground", LOOKS[-1:]) == []
    page.locator(".nbopt-play-overfitting").click()
    page.locator(".nbopt-panel .nbopt-start").wait_for()
    assert barriers(page, ".nbopt-playground") == []

    # What is saved has a picture for where no kernel lives; here the board stands in its place.
    output = "() => [...document.querySelectorAll('.nbopt-still svg image')].length"
    page.wait_for_function(f"{output}")
    expect(page.locator(".nbopt-still").first).to_be_hidden()
    assert book.problems == []
