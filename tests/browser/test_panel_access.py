"""The panel for those who use a keyboard or a screen reader, or a narrow window; and one that is fed nonsense."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.lab import LOOKS, barriers, wait_until
from tests.browser.test_panel import DIGITS, curve_paths, wait_for_text

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

FOCUSABLE = "button, input, select, summary, [tabindex='0'], [contenteditable='true']"

# Each visible input with what a screen reader calls it. A slider's name must not be its value.
INPUTS = """(panel, focusable) => [...panel.querySelectorAll(focusable)]
    .filter(item => item.checkVisibility() && !item.disabled && !item.closest('.jupyter-widgets[disabled]'))
    .map(item => {
        const labels = [...(item.labels ?? [])].map(label => label.textContent).join(' ');
        const own = item.matches('button, summary, [role=button]') ? item.textContent : '';
        return [item.className || item.tagName, (item.getAttribute('aria-label') || labels || own).trim()];
    })"""

# What Tab reaches, from the first button until the focus leaves the panel.
MARK = """(panel, focusable) => {
    const items = [...panel.querySelectorAll(focusable)].filter(item => item.checkVisibility() && !item.disabled);
    items.forEach((item, k) => (item.dataset.order = k));
    items[0].focus();
    return items.length;
}"""
FOCUSED = "() => [document.activeElement.dataset.order, !!document.activeElement.closest('.nbopt-panel')]"

# A logarithmic axis has its own numbers, each at its own height.
LOG_TICKS = """() => {
    const ticks = [...document.querySelectorAll('.nbopt-chart-loss .axis .tick')].filter(
        tick => /^translate\\(0,/.test(tick.getAttribute('transform')));
    const heights = ticks.map(tick => Math.round(Number(/,([-\\d.]+)/.exec(tick.getAttribute('transform'))[1])));
    return heights.length > 1 && new Set(heights).size === heights.length && Math.max(...heights) > 100;
}"""

# Elements that reach beyond the panel's sides, or whose text is cut off.
OVERFLOWING = """panel => {
    const outer = panel.getBoundingClientRect();
    const out = [...panel.querySelectorAll('*')].filter(item => {
        if (!item.checkVisibility() || item.closest('svg, .nbopt-journal')) return false;
        const box = item.getBoundingClientRect();
        return box.width && (box.left < outer.left - 1 || box.right > outer.right + 1);
    });
    const texts = '.nbopt-label, .nbopt-badge span, .nbopt-why, .nbopt-unit, ' +
        '.nbopt-fact, .nbopt-title, button, .nbopt-key, label';
    const cut = [...panel.querySelectorAll(texts)].filter(item =>
        item.checkVisibility() && item.scrollWidth > item.clientWidth + 1 && item.clientWidth > 1);
    return [...out, ...cut].map(item => `${item.className} ${item.textContent.slice(0, 30)}`);
}"""


def test_every_input_has_a_name_and_tab_reaches_it(notebook):
    book = notebook(DIGITS, "run = make()\nrun", "run.step(30)")
    book.run_all()
    page = book.page
    panel = page.locator(".nbopt-panel")
    panel.locator(".nbopt-figure[aria-label]").first.wait_for()
    expect(panel.locator(".nbopt-start")).to_have_text("Resume")
    for name in ("start", "step", "rewind", "branch"):  # all that the last paint has to tell has come
        expect(panel.locator(f".nbopt-{name}")).to_be_enabled()
    inputs = panel.evaluate(INPUTS, FOCUSABLE)
    assert len(inputs) > 25
    assert [kind for kind, name in inputs if not name] == []
    assert {"Learning rate", "Smoothing", "Batch size", "Optimizer", "Resume"} <= {name for _kind, name in inputs}

    count = panel.evaluate(MARK, FOCUSABLE)
    reached = set()
    for _press in range(2 * count):
        order, inside = page.evaluate(FOCUSED)
        if not inside:
            break
        reached.add(int(order))
        page.keyboard.press("Tab")
    assert reached == set(range(count))

    # A slider tells its value, not its position, also after a move.
    handle = page.locator(".nbopt-hp-lr .noUi-handle")
    assert handle.get_attribute("aria-valuetext") == "0.001"
    handle.focus()
    page.keyboard.press("ArrowRight")
    book.wait_for("run.hyperparams['lr'] == 0.0012")
    assert handle.get_attribute("aria-valuetext") == "0.0012"

    # How good smaller models would be: a sweep is drawn, and a point of it is taken by a key.
    panel.locator(".nbopt-drawer-size").click()
    sizes = panel.locator(".nbopt-size")
    sizes.get_by_label("Sweep").select_option("sparsity")
    sizes.get_by_role("button", name="Draw", exact=True).click()
    sizes.get_by_role("button", name="Set Sparsity to 0.9:").press("Enter")
    book.wait_for("run.hyperparams['sparsity'] == 0.9")
    wait_until(lambda: sizes.locator("circle.nbopt-size-was").count(), 30, "the state before is not shown")

    # What values would do, from the keyboard: one stop for all cells of a strip.
    page.locator(".nbopt-hp-lr .nbopt-if-offer").click()
    page.locator(".nbopt-if-open").click()
    page.locator(".nbopt-if-one").select_option("lr")
    page.locator(".nbopt-if-other").select_option("weight_decay")
    page.locator(".nbopt-if-map .nbopt-if-cell").first.wait_for()
    page.locator(".nbopt-hp-lr .nbopt-if-now").focus()
    page.keyboard.press("End")
    expect(page.locator(".nbopt-hp-lr .nbopt-if-says")).to_have_text(re.compile(r"^1: .* → .* in \d+ steps"))
    assert page.locator(".nbopt-hp-lr .nbopt-if-cell[tabindex='0']").count() == 1

    # With all that unfolds below the charts: the list of runs, settings compared, a sweep of rates, what to take away.
    for drawer in ("runs", "rates", "takeaway"):
        panel.locator(f".nbopt-drawer-{drawer}").click()
    panel.locator(".nbopt-runs-bar button").click()
    panel.locator(".nbopt-runs-own [data-act=rename]").click()
    panel.locator(".nbopt-runs-own input[type=text]").wait_for()
    panel.locator(".nbopt-finder .plotarea_background").wait_for(state="attached")
    panel.locator(".nbopt-takeaway").wait_for()
    assert barriers(page, ".nbopt-panel") == []
    page.evaluate("document.querySelector('.nbopt-search').setAttribute('aria-label', '')")
    page.evaluate("document.querySelector('.nbopt-search').removeAttribute('placeholder')")
    assert any("critical label" in text for text in barriers(page, ".nbopt-search", LOOKS[-1:]))  # it does look
    assert book.problems == []


def test_nothing_reaches_beyond_the_panel_or_is_cut_off(notebook):
    book = notebook(DIGITS, "run = make(patience=9999)\nrun", "run.start()", width=900)
    book.run_all()
    page = book.page
    book.wait_for("run.step_count > 300")
    page.locator(".nbopt-hp-optimizer select").select_option("sgd")
    box = page.locator(".nbopt-hp-lr input")
    box.fill("not a number of any kind")
    box.press("Enter")
    page.locator(".nbopt-problem").wait_for()
    page.locator(".nbopt-pause").click()
    wait_for_text(book, ".nbopt-state", "Paused")
    panel = page.locator(".nbopt-panel")
    for width in (900, 1400):
        page.set_viewport_size({"width": width, "height": 1100})
        wait_until(lambda: panel.evaluate(OVERFLOWING) == [], 30, f"{panel.evaluate(OVERFLOWING)} at {width}")
        assert panel.locator(".nbopt-name").evaluate(CUT) is False
    page.set_viewport_size({"width": 1900, "height": 1100})
    wait_until(lambda: panel.evaluate(EMPTY) < 80, 30, "room is left empty below the charts")
    page.set_viewport_size({"width": 640, "height": 900})
    panel.evaluate("panel => panel.scrollIntoView()")
    wait_until(lambda: panel.evaluate(IN_SIGHT), 30, "chart and controls are not in one view")
    panel.locator(".nbopt-unfold").click()
    expect(panel.locator(".nbopt-entries")).to_contain_text("dropped: running mean of gradients")
    assert panel.locator(".nbopt-entries").evaluate(CUT) is False  # a long entry goes on in another line
    assert book.problems == []


CUT = "item => item.scrollWidth > item.clientWidth"

# How much of the body's height the charts leave empty, and whether a narrow window shows a chart and controls at once.
EMPTY = """panel => {
    const bottoms = [...panel.querySelectorAll('.nbopt-figure')].map(item => item.getBoundingClientRect().bottom);
    return panel.querySelector('.nbopt-body').getBoundingClientRect().bottom - Math.max(...bottoms);
}"""
IN_SIGHT = """panel => {
    const box = name => panel.querySelector(name).getBoundingClientRect();
    const chart = box('.nbopt-figure'), controls = box('.nbopt-hp-lr');
    return panel.getBoundingClientRect().width < 600 && chart.height > 150 && chart.bottom <= controls.top
        && controls.bottom < 800;
}"""

# How many rows the tools stand in: how many boxes lie wholly below the first one.
TOOL_ROWS = """panel => {
    const parts = [...panel.querySelectorAll('.nbopt-toolbar :is(button, select, input, .noUi-handle)')];
    const boxes = parts.filter(item => item.checkVisibility()).map(item => item.getBoundingClientRect());
    return 1 + boxes.filter(box => box.top > boxes[0].bottom).length;
}"""
CUT_TITLES = """panel => [...panel.querySelectorAll('.nbopt-title')].filter(item => item.scrollWidth > item.clientWidth)
    .map(item => item.textContent)"""


# How many charts stand in each row, once each is drawn as large as its place; None until then.
ROWS = """panel => {
    const rows = {};
    for (const figure of panel.querySelectorAll('.nbopt-figure')) {
        const box = figure.getBoundingClientRect();
        const area = figure.querySelector('.plotarea_background')?.getBoundingClientRect();
        const margins = area && [box.width - area.width - 68, box.height - area.height - 38];
        if (!margins?.every(margin => Math.abs(margin) < 1)) return null;
        rows[Math.round(box.top)] = (rows[Math.round(box.top)] ?? 0) + 1;
    }
    return Object.keys(rows).sort((a, b) => a - b).map(top => rows[top]);
}"""

# The numbers of x axes that stand closer than three pixels to the next one.
CROWDED = """panel => [...panel.querySelectorAll('.nbopt-figure .axis')].flatMap(axis => {
    const ticks = [...axis.querySelectorAll('.tick')].filter(tick => /,0\\)$/.test(tick.getAttribute('transform')));
    const texts = ticks.map(tick => tick.querySelector('text')).filter(text => text.checkVisibility());
    const boxes = texts.map(text => text.getBoundingClientRect());
    return texts.filter((_, k) => k && boxes[k].left < boxes[k - 1].right + 3).map(text => text.textContent);
})"""


def test_many_charts_stand_in_rows_below_the_loss_and_in_one_column_where_it_is_narrow(notebook):
    scores = ", ".join(f"'weighted score {k}': (lambda output, target: {k}.0)" for k in range(1, 7))
    book = notebook(DIGITS.replace('["accuracy"]', f"{{{scores}}}"), "run = make()\nrun", width=1200)
    book.run_all()
    page = book.page
    panel = page.locator(".nbopt-panel")
    book.ask("run.step(1940)")
    expect(panel.locator(".nbopt-figure").last).to_contain_text("1,500")
    for width, rows in [(1400, [1, 3, 3]), (900, [1, 2, 2, 2]), (640, [1, 2, 2, 2]), (1200, [1, 2, 2, 2])]:
        page.set_viewport_size({"width": width, "height": 2400})  # bqplot draws anew only what is in sight
        wait_until(lambda rows=rows: panel.evaluate(ROWS) == rows, 30, f"never {rows} at {width}")
        beyond = panel.evaluate(OVERFLOWING)
        assert [item for item in beyond if not item.startswith("noUi")] == []  # a slider's inside, which nobody sees
        assert panel.evaluate(TOOL_ROWS) == 1
        assert panel.evaluate(CUT_TITLES) == [] and panel.evaluate(CROWDED) == []

    # Each of them is whole: read-out, zoom and the way back.
    area = page.locator(".plotarea_background").last.bounding_box()
    at = (area["x"] + 0.5 * area["width"], area["y"] + 0.5 * area["height"])
    page.mouse.move(*at)
    wait_for_text(book, ".nbopt-chart-weighted-score-6 .nbopt-tip", "training 6")
    page.mouse.click(*at)
    expect(page.locator(".nbopt-target input")).not_to_have_value("")
    page.mouse.down()
    page.mouse.move(area["x"] + 0.9 * area["width"], at[1], steps=5)
    page.mouse.up()
    whole = page.locator(".nbopt-toolbar button", has_text="Show all")
    expect(whole).to_be_enabled()
    page.mouse.dblclick(*at)
    expect(whole).to_be_disabled()
    assert book.problems == []


def test_a_loss_without_bounds_leaves_no_trace_in_the_page_once_good_values_come(notebook):
    diverging = "run = make(recover=False, optimizer='sgd', epochs=100_000)\nrun"
    book = notebook(DIGITS, diverging, "run.start()")
    book.run_all()
    page = book.page
    book.wait_for("run.step_count > 50")
    weights = "[p.detach().clone() for p in run.model.parameters()]"
    book.ask(f"globals().update(good={weights}, math=__import__('math')) and None")
    box = page.locator(".nbopt-hp-lr input")
    box.fill("1e30")
    box.press("Enter")
    book.wait_for("not math.isfinite(run.history.last('loss'))")
    wait_for_text(book, ".nbopt-chart-loss .nbopt-key", "nan")
    page.locator(".nbopt-log-y").click()
    page.locator(".nbopt-log-y").click()
    page.locator(".nbopt-pause").click()
    wait_for_text(book, ".nbopt-state", "Paused")
    box.fill("0.01")
    box.press("Enter")
    book.wait_for("run.hyperparams['lr'] == 0.01")
    book.ask("len([p.data.copy_(g) for p, g in zip(run.model.parameters(), good)])")
    page.locator(".nbopt-start").click()
    resumed = book.ask("run.step_count")
    book.wait_for(f"run.step_count > {resumed} + 300")
    book.wait_for("math.isfinite(run.history.last('loss'))")
    page.locator(".nbopt-pause").click()
    wait_for_text(book, ".nbopt-state", "Paused")

    def is_clean() -> bool:
        drawn = curve_paths(book)
        return len([path for path in drawn if len(path) > 500]) >= 2 and not any("NaN" in path for path in drawn)

    wait_until(is_clean, 30, "the curves never came back")

    page.locator(".nbopt-log-y").click()
    page.wait_for_function(LOG_TICKS)
    assert book.problems == []
