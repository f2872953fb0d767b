"""With the panel open in a real browser: speed against a hand-written loop, time to the panel, the tab's memory.

``python -m tests.benchmarks --only browser --minutes 30``.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from tests.browser.lab import FLAGS, Lab, Notebook, browser_path

SETUP = """
%load_ext nbopt
import copy, statistics, threading, time
import nbopt, torch
from torch import nn
torch.set_num_threads(1)
torch.manual_seed(0)
X, y = torch.randn(20_000, 64), torch.randint(10, (20_000,))
model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
rival = copy.deepcopy(model)
run = nbopt.Run(model, train=(X, y), optimizer="sgd", lr=0.01, metrics=["accuracy"], epochs=10**9, tier="eager")
"""

SHOW = "run"

MEASURE = """
SECONDS, ROUNDS = 1.5, 5
clock = time.CLOCK
optimizer = torch.optim.SGD(rival.parameters(), lr=0.01)
criterion = nn.CrossEntropyLoss()

def by_hand():
    steps, start = 0, clock()
    while clock() < start + SECONDS:
        order = torch.randperm(len(X))
        for at in range(0, len(X), 64):
            index = order[at : at + 64]
            optimizer.zero_grad()
            criterion(rival(X[index]), y[index]).backward()
            optimizer.step()
            steps += 1
    return steps / (clock() - start)

def by_nbopt():
    run.resume()
    before, start = run.step_count, clock()
    while (spent := clock() - start) < SECONDS:
        time.sleep(SECONDS - spent)
    steps = run.step_count - before
    run.pause()
    return steps / spent

def compare():
    for tier in "eager", "auto":
        run.set(tier=tier)
        end = time.perf_counter() + (60 if tier == "auto" else 1)
        run.resume()
        while time.perf_counter() < end and not run.training.tiers.steps:
            time.sleep(0.5)
        time.sleep(3 * (tier == "auto"))
        run.pause()
        rows[tier] = []
        for number in range(ROUNDS):
            pair = [loop() for loop in ((by_hand, by_nbopt) if number % 2 else (by_nbopt, by_hand))]
            rows[tier].append(pair if number % 2 else pair[::-1])
    done.append(True)

rows, done = {}, []
threading.Thread(target=compare, daemon=True).start()
"""

PACED = """
run.stop()
rate = 200
def paced(model, batch):
    time.sleep(1 / rate)
    return model(batch[0]), batch[1]
slow = nbopt.Run(copy.deepcopy(rival), (X[:2000], y[:2000]), val=0.2, forward=paced, metrics=["accuracy"], epochs=10**9)
slow.start()
slow
"""

# A hidden tab runs no animation frames: held back here, since a browser that is driven shows all its tabs.
HIDE = """() => {
    window.heldFrames = [];
    window.realFrames = window.requestAnimationFrame;
    window.requestAnimationFrame = callback => window.heldFrames.push(callback);
    Object.defineProperty(document, 'hidden', {configurable: true, get: () => true});
    document.dispatchEvent(new Event('visibilitychange'));
}"""
SHOW_AGAIN = """() => {
    window.requestAnimationFrame = window.realFrames;
    delete document.hidden;
    window.heldFrames.forEach(callback => window.requestAnimationFrame(callback));
    document.dispatchEvent(new Event('visibilitychange'));
}"""
SAMPLES = 12


def figures(minutes: float, clock: str) -> Iterator[tuple[str, str, str]]:
    """Yield lines for the table: what, measured, at least (aim); steps per second by a clock of `time`."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        lab = Lab(Path(folder))
        try:
            browser = playwright.chromium.launch(executable_path=browser_path(), args=FLAGS)
            page = browser.new_context(viewport={"width": 1400, "height": 1100}).new_page()
            book = Notebook(lab, page, "benchmark", [SETUP, SHOW, MEASURE.replace("CLOCK", clock), PACED])
            yield "panel shown after its cell runs, torch imported", f"{_appear(book):.2f} s", "1 s (0.5)"
            yield from _speed(book)
            yield _memory(book, minutes)
            book.close()
        finally:
            lab.close()


def _run_cell(book: Notebook, wait: bool = True) -> None:
    """Run the cell that is selected, and select the next."""
    book.command("notebook:run-cell-and-select-next") if wait else book.page.evaluate(
        "() => { window.jupyterapp.commands.execute('notebook:run-cell-and-select-next'); }"
    )


def _appear(book: Notebook) -> float:
    """Return the seconds from running the cell to all charts drawn."""
    _run_cell(book)
    start = time.perf_counter()
    _run_cell(book, wait=False)
    book.page.locator(".nbopt-panel .nbopt-figure .plotarea_background").last.wait_for(state="attached")
    return time.perf_counter() - start


def _speed(book: Notebook) -> Iterator[tuple[str, str, str]]:
    _run_cell(book)
    while not book.ask("len(done)"):
        book.page.wait_for_timeout(1000)
    for tier, goal in (("eager", "1.2 (1.4)"), ("auto", "2 (3)")):
        rows = book.ask(f"rows['{tier}']")
        ratios = sorted(ours / hand for hand, ours in rows)
        rate = statistics.median(ours for _hand, ours in rows)
        text = f"{rate:,.0f} steps/s, **{statistics.median(ratios):.2f}** ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        how = "eager steps" if tier == "eager" else f"warmed up ({book.ask('run.tier')})"
        yield f"small MLP with the panel open, against the hand-written loop: {how}", text, goal


def _memory(book: Notebook, minutes: float) -> tuple[str, str, str]:
    """Watch the tab's memory at 200 steps a second, hidden every other time."""
    page = book.page
    _run_cell(book)
    page.wait_for_timeout(5000)
    sizes = []
    for number in range(SAMPLES):
        page.evaluate(HIDE if number % 2 else SHOW_AGAIN) if number else None
        page.wait_for_timeout(60_000 * minutes / SAMPLES)
        sizes.append(_heap(page))
    page.evaluate(SHOW_AGAIN)
    third = SAMPLES // 3
    early, late = statistics.median(sizes[:third]), statistics.median(sizes[-third:])
    series = ", ".join(f"{size:.0f}" for size in sizes)
    title = f"browser tab's memory over {minutes:g} minutes at 200 steps/s, hidden half of the time"
    return title, f"{100 * (late / early - 1):+.1f} % ({series} MiB)", "within 10 %"


def _heap(page: Page) -> float:
    """Return the MiB that the page's scripts hold, rubbish collected."""
    session: Any = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    size: float = session.send("Runtime.getHeapUsage")["usedSize"] / 2**20
    session.detach()
    return size
