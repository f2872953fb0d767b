"""A study's panel with 2,000 trials of 1,000 points each: ``python -m tests.benchmarks.trials``.

Of each thing that a hand does, ten times: the CPU of the page's thread until it rests, with what it does of the
kernel's answer, and of its longest task, for a hand's next move waits no longer than that; the longest that the kernel
computes at a time for it; and how long the browser takes to the picture of
it, by its own Event Timing, which depends on what else the machine does. Of the kernel, the CPU of a frame: with
nothing new, with a new value of one trial, and the first one, which reads all.
"""

from __future__ import annotations

import argparse
import json
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
heard = []
def timed(work):
    def act(*given):
        begun = time.thread_time()
        work(*given)
        heard.append(time.thread_time() - begun)
    return act
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
panel.bridge._on_message, panel.bridge._paint = timed(panel._hear), timed(panel._paint)
study
"""
WATCH = """() => {
    window.seen = [];
    new PerformanceObserver(list => window.seen.push(...list.getEntries().map(one => [one.name, one.duration])))
        .observe({ type: 'event', durationThreshold: 16, buffered: false });
}"""


def interactions(page: Page) -> dict[str, Callable[[int], None]]:
    """Return what a hand does, to be done ever again; at places found before, since to look for them costs the page."""
    panel = page.locator(".nbopt-study-panel")

    def middle(selector: str, number: int = 0) -> tuple[float, float, float]:
        box = panel.locator(selector).nth(number).bounding_box()
        assert box is not None and box["y"] + box["height"] < 1700, selector
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, box["height"]

    def drag(x: float, y: float, down: float, right: float = 0.0) -> None:
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + right / 2, y + down / 2)
        page.mouse.move(x + right, y + down)
        page.mouse.up()

    x, y, height = middle("figure canvas", 1)
    dots, amid, _height = middle("figure canvas", 3)
    lines, among, _height = middle(".nbopt-par canvas", 1)
    across, along, tall = middle(".nbopt-par-strip")
    heads = [middle("th button", 1 + k)[:2] for k in range(4)]
    rows = [middle("tr[data-member]", k)[:2] for k in range(8)]
    log, table = (middle(each)[:2] for each in (".nbopt-fan-log", ".nbopt-members"))
    clear = middle(".nbopt-par figcaption button", 1)[:2]

    def scroll(k: int) -> None:
        page.mouse.move(*table)
        page.mouse.wheel(0, 300)

    return {
        "point at a curve": lambda k: page.mouse.move(x + 7 * k, y + 0.2 * height - 3 * k),
        "point at a line": lambda k: page.mouse.move(lines + 30 + 3 * k, among + 5 * k),
        "point at a row": lambda k: page.mouse.move(*rows[k % 8]),
        "choose a curve": lambda k: page.mouse.click(x + 7 * k, y + 0.2 * height - 3 * k),
        "choose a point": lambda k: page.mouse.click(dots - 60 + 7 * k, amid + 20 - 3 * k),
        "choose a row": lambda k: page.mouse.click(*rows[k % 8]),
        "choose many points": lambda k: drag(dots - 120, amid - 60, 100 + 5 * k, 200),
        "choose none": lambda k: page.keyboard.press("Escape") if k % 2 else page.mouse.click(*rows[k % 8]),
        "scroll the table": scroll,
        "sort the table": lambda k: page.mouse.click(*heads[k % 4]),
        "brush an axis": lambda k: drag(across, along + 0.3 * tall, -(0.4 + 0.02 * k) * tall),
        "clear the brush": lambda k: drag(across, along, -0.3 * tall) if k % 2 else page.mouse.click(*clear),
        "brush by a key": lambda k: page.keyboard.press("ArrowUp"),
        "type a filter": lambda k: page.keyboard.press("2" if k % 2 else "Backspace"),
        "other points": lambda k: page.keyboard.press("ArrowDown" if k % 4 < 2 else "ArrowUp"),
        "other colours": lambda k: page.keyboard.press("ArrowDown" if k % 4 < 2 else "ArrowUp"),
        "logarithmic or not": lambda k: page.mouse.click(*log),
    }


FOCUSED = {
    "brush by a key": ".nbopt-par-knob",
    "type a filter": "input[type=search]",
    "other points": "figure:nth-of-type(2) figcaption select:last-of-type",
    "other colours": ".nbopt-par figcaption select",
}
"""What has the focus before a key is pressed."""


def longest_task(trace: bytes) -> float:
    """Return the milliseconds of CPU of the longest task of the page's thread in a trace."""
    events = json.loads(trace)["traceEvents"]
    main = {(each["pid"], each["tid"]) for each in events if each["args"].get("name") == "CrRendererMain"}
    return max(
        (
            each.get("tdur", 0) / 1000
            for each in events
            if each["name"].endswith("RunTask") and (each["pid"], each["tid"]) in main
        ),
        default=0.0,
    )


def rest(session: Any) -> float:
    """Wait until the page computes nothing any more; return the seconds that it has computed so far."""
    found = computed(session)
    while True:
        time.sleep(0.3)
        before, found = found, computed(session)
        if found - before < 0.004:  # what asking costs
            return found


def measure(trials: int, points: int, only: str) -> list[str]:
    """Return lines of a table."""
    lines = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        lab = Lab(Path(folder))
        browser = playwright.chromium.launch(executable_path=browser_path(), args=FLAGS)
        try:
            page = browser.new_context(viewport={"width": 1400, "height": 1700}).new_page()
            book = Notebook(lab, page, "trials", [SETUP.format(trials=trials, points=points), SHOW])
            book.run_all()
            page.locator(".nbopt-study-panel tr[data-member]").first.wait_for(timeout=600_000)
            if (news := page.get_by_role("button", name="No", exact=True)).is_visible():
                news.click()  # it lies over the panel
            page.locator(".nbopt-study-panel").evaluate("panel => panel.scrollIntoView({ block: 'start' })")
            time.sleep(2)
            lines.append(f"| kernel, first frame, CPU | {1000 * book.ask('first'):.0f} ms |")
            for title, news in (("nothing new", False), ("a new value", True)):
                spent = book.ask(f"[frame({news}) for _time in range(20)]")
                lines.append(f"| kernel, a frame with {title}, CPU | {1000 * statistics.median(spent):.1f} ms |")
            session: Any = page.context.new_cdp_session(page)
            session.send("Performance.enable", {"timeDomain": "threadTicks"})
            page.evaluate(WATCH)
            for title, act in interactions(page).items():
                if only not in title:
                    continue
                if title in FOCUSED:
                    page.locator(f".nbopt-study-panel {FOCUSED[title]}").first.focus()
                page.evaluate("() => { window.seen = []; }")
                book.ask("heard.clear()")
                spent = []
                browser.start_tracing(page=page, categories=["toplevel", "disabled-by-default-devtools.timeline"])
                for k in range(TIMES):
                    before = rest(session)
                    act(k)
                    spent.append(1000 * (rest(session) - before))
                task = longest_task(browser.stop_tracing())
                kernel = 1000 * max(book.ask("heard"), default=0.0)
                seen = [duration for _name, duration in page.evaluate("() => window.seen")]
                clock = f"{statistics.median(seen):.0f}, {max(seen):.0f}" if seen else "under 16"
                cpu = f"{statistics.median(spent):.0f}, {max(spent):.0f} ms"
                lines.append(f"| {title} | {cpu} | {task:.0f} ms | {kernel:.0f} ms | {clock} ms |")
                print(lines[-1], flush=True)
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
    parser.add_argument("--only", default="", help="what has this in its name")
    given = parser.parse_args()
    print("\n".join(measure(given.trials, given.points, given.only)))


if __name__ == "__main__":
    main()
