"""A study's panel with 2,000 trials of 1,000 points each: ``python -m tests.benchmarks.trials``.

How long the browser takes from what a hand does to the picture of it, by its own Event Timing; the CPU of the page's
thread, with what the test itself asks of the page, and what the kernel answers; and the CPU of the kernel's thread for
a frame: with nothing new, with a new value of one trial, and the first one, which reads all.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from tests.benchmarks.frames import computed
from tests.browser.lab import FLAGS, Lab, Notebook, browser_path

TIMES = 10

SETUP = """
%load_ext nbopt
import math, time
import nbopt
import numpy as np
from nbopt.notebook.study.panel import panel_of
def reach(trial):
    values = trial.values
    return (math.log10(values["lr"]) + 2) ** 2 + values["dropout"] + (values["kind"] == "a") + values["width"] / 64
space = {{
    "lr": nbopt.Float(0.1, low=1e-5, high=1.0, log=True), "dropout": nbopt.Float(0.1, low=0.0, high=0.9),
    "width": nbopt.Int(8, low=8, high=128, powers=True), "kind": nbopt.Choice("a", options=("a", "b", "c")),
}}
study = nbopt.Study(objective=reach, space=space, sampler="random", trials={trials}, store=None).fit()
draw = np.random.default_rng(0)
for trial in study.trials:
    curve = trial.objective * (1 + 3 * np.exp(-np.arange({points}) / 150)) + draw.normal(0, 0.02, {points})
    trial.reports.update(enumerate(map(float, curve), 1))
def frame(news):
    if news:
        study.trials[-1].reports[len(study.trials[-1].reports) + 1] = 1.0
    begun = time.thread_time()
    with panel.board.hold_sync():
        panel._paint()
    return time.thread_time() - begun
"""
SHOW = """
begun = time.thread_time()
panel = panel_of(study)
first = time.thread_time() - begun
study
"""
WATCH = """() => {
    window.seen = [];
    new PerformanceObserver(list => window.seen.push(...list.getEntries().map(one => [one.name, one.duration])))
        .observe({ type: 'event', durationThreshold: 16, buffered: false });
}"""


def interactions(page: Page) -> dict[str, Callable[[int], None]]:
    """Return what a hand does, each to be done ever again."""
    panel = page.locator(".nbopt-study-panel")

    def middle(selector: str, number: int = 0) -> tuple[float, float, float]:
        box = panel.locator(selector).nth(number).bounding_box()
        assert box is not None
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, box["height"]

    x, y, height = middle("figure canvas", 1)
    across, along, tall = middle(".nbopt-par-strip")
    heads = panel.locator("th button")
    rows = panel.locator("tr[data-member]")
    selects = panel.locator("figcaption select")

    def brush(k: int) -> None:
        page.mouse.move(across, along + 0.3 * tall)
        page.mouse.down()
        page.mouse.move(across, along - (0.1 + 0.02 * k) * tall)
        page.mouse.up()

    return {
        "point at a curve": lambda k: page.mouse.move(x + 7 * k, y + 0.2 * height - 3 * k),
        "choose a curve": lambda k: page.mouse.click(x + 7 * k, y + 0.2 * height - 3 * k),
        "choose a row": lambda k: rows.nth(k % 8).click(),
        "sort the table": lambda k: heads.nth(1 + k % 4).click(),
        "brush an axis": brush,
        "brush by a key": lambda k: panel.locator(".nbopt-par-knob").first.press("ArrowUp"),
        "type a filter": lambda k: panel.locator("input[type=search]").press("2" if k % 2 else "Backspace"),
        "other points": lambda k: selects.nth(1).select_option(index=k % 5),
        "other colours": lambda k: selects.nth(2).select_option(index=k % 5),
    }


def measure(trials: int, points: int) -> list[str]:
    """Return lines of a table."""
    lines = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        lab = Lab(Path(folder))
        browser = playwright.chromium.launch(executable_path=browser_path(), args=FLAGS)
        try:
            page = browser.new_context(viewport={"width": 1400, "height": 1300}).new_page()
            book = Notebook(lab, page, "trials", [SETUP.format(trials=trials, points=points), SHOW])
            book.run_all()
            page.locator(".nbopt-study-panel tr[data-member]").first.wait_for(timeout=600_000)
            time.sleep(2)
            lines.append(f"| kernel, first frame, CPU | {1000 * book.ask('first'):.0f} ms |")
            for title, news in (("nothing new", False), ("a new value", True)):
                spent = book.ask(f"[frame({news}) for _time in range(20)]")
                lines.append(f"| kernel, a frame with {title}, CPU | {1000 * statistics.median(spent):.1f} ms |")
            session: Any = page.context.new_cdp_session(page)
            session.send("Performance.enable", {"timeDomain": "threadTicks"})
            page.evaluate(WATCH)
            for title, act in interactions(page).items():
                page.evaluate("() => { window.seen = []; }")
                before = computed(session)
                for k in range(TIMES):
                    act(k)
                    time.sleep(0.4)
                cpu = 1000 * (computed(session) - before) / TIMES
                seen = [duration for _name, duration in page.evaluate("() => window.seen")]
                told = "all under 16 ms"
                if seen:
                    told = f"median {statistics.median(seen):.0f}, longest {max(seen):.0f} ms"
                lines.append(f"| {title} | {told}; page {cpu:.0f} ms of CPU each |")
            assert not book.problems, book.problems
            book.close()
        finally:
            browser.close()
            lab.close()
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=2_000)
    parser.add_argument("--points", type=int, default=1_000)
    given = parser.parse_args()
    print("\n".join(measure(given.trials, given.points)))


if __name__ == "__main__":
    main()
