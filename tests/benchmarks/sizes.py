"""From a slider moved at rest to the accuracy that is shown: ``python -m tests.benchmarks.sizes [--page]``.

Without a page, it is what the kernel takes until the drawer has painted. With one, a real JupyterLab: from a key
pressed on the slider to the new numbers in the page. Other work on the machine changes the seconds, but hardly the CPU.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from playwright.sync_api import sync_playwright
from sklearn.datasets import load_digits
from torch import nn

import nbopt
from nbopt.notebook.panel.size.drawer import SizeDrawer
from tests.browser.lab import FLAGS, Lab, Notebook, browser_path
from tests.waiting import eventually

CELL = """
from tests.benchmarks.sizes import make
run = make()
run"""
MOVE = """() => new Promise(done => {
    const shown = () => document.querySelector('.nbopt-size-facts').textContent;
    const [before, begun] = [shown(), performance.now()];
    const press = new KeyboardEvent('keydown', { key: 'ArrowRight', bubbles: true });
    document.querySelector('.nbopt-hp-sparsity .noUi-handle').dispatchEvent(press);
    const look = () => shown() === before ? requestAnimationFrame(look) : done((performance.now() - begun) / 1000);
    look();
})"""


def make():
    """Return a run of a CNN on digits, at rest after 200 steps."""
    torch.set_num_threads(1)
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
    torch.manual_seed(0)
    convolutions = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU()]
    model = nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(32 * 64, 10))
    run = nbopt.Run(model, (x, torch.tensor(y)), val=0.2, metrics=["accuracy"], epochs=10, store=None)
    run.step(200)
    return run


def measure(moves):
    """Return for each move of a slider the seconds until the drawer's page has the new state, and those of CPU."""
    run = make()
    drawer = SizeDrawer(run, lambda: None, lambda: True)
    eventually(lambda: drawer.explorer.trail)
    found = []
    for k in range(moves):
        before = drawer.explorer.trail[-1]
        eventually(lambda: not drawer.explorer.at_work)
        start, cpu = time.perf_counter(), time.process_time()
        run.set(sparsity=0.5 + 0.45 * (k + 1) / moves)
        eventually(lambda before=before: drawer.explorer.trail[-1] is not before)
        drawer.paint()
        found.append((time.perf_counter() - start, time.process_time() - cpu))
    drawer.close()
    run.stop()
    return found


def measure_page(moves):
    """Return for each move the seconds until the page shows other numbers, and the kernel's of CPU."""
    found = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        lab = Lab(Path(folder))
        browser = playwright.chromium.launch(executable_path=browser_path(), args=FLAGS)
        book = Notebook(lab, browser.new_page(viewport={"width": 1400, "height": 1900}), "sizes", [CELL])
        book.run_all()
        page = book.page
        page.locator(".nbopt-search").first.fill("sparsity")
        page.locator(".nbopt-hp-sparsity .noUi-handle").first.wait_for()
        page.locator(".nbopt-drawer-size").click()
        page.locator("circle.nbopt-size-now").first.wait_for()
        book.ask("run.set(sparsity=0.5)")
        for _move in range(moves):
            page.locator(".nbopt-size-note:empty").wait_for(state="attached")  # nothing is being found out
            cpu = book.ask("__import__('time').process_time()")
            seconds = page.evaluate(MOVE)
            found.append((seconds, book.ask("__import__('time').process_time()") - cpu))
        browser.close()
        lab.close()
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", action="store_true")
    parser.add_argument("--moves", type=int, default=30)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    each = measure_page(asked.moves) if asked.page else measure(asked.moves)
    for name, values in zip(("seconds", "seconds of CPU"), zip(*each, strict=True), strict=True):
        print(f"{name}: median {statistics.median(values):.3f}, longest {max(values):.3f}")
