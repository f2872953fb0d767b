"""What it takes until a panel stands in the page, in a kernel that has not shown one yet.

``python -m tests.benchmarks.shown --times 3``. Other work on the machine changes the seconds, but hardly the CPU time
of page and kernel, and not the number of messages.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from playwright.sync_api import Browser, sync_playwright

from tests.benchmarks.frames import computed
from tests.browser.lab import FLAGS, Lab, Notebook, browser_path

SETUP = """
%load_ext nbopt
import time
import nbopt, torch
from torch import nn
torch.set_num_threads(1)
torch.manual_seed(0)
X, y = torch.randn(2_000, 64), torch.randint(10, (2_000,))
model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 10))
run = nbopt.Run(model, (X, y), val=0.2, metrics=["accuracy"], store=None)
"""
SHOW = """() => {
    const begun = performance.now();
    const seen = window.seen = { told: 0, charts: 0, usable: 0 };
    window.context.session.kernel.iopubMessage.connect((_sender, message) => {
        if (message.header.msg_type.startsWith('comm_')) seen.told += 1;
    });
    const look = () => {
        const panel = document.querySelector('.nbopt-panel');
        const drawn = panel?.querySelectorAll('.nbopt-figure .plotarea_background').length ?? 0;
        if (drawn > 1 && !seen.charts) seen.charts = (performance.now() - begun) / 1000;
        if (seen.charts && panel.querySelector('.nbopt-hp-lr .noUi-handle[aria-label]')) {
            requestAnimationFrame(() => setTimeout(() => { seen.usable = (performance.now() - begun) / 1000; }));
        } else requestAnimationFrame(look);
    };
    look();
    jupyterapp.commands.execute('notebook:run-cell');
}"""


class Shown(NamedTuple):
    """How a panel came to be shown.

    Attributes
    ----------
    charts : float
        Seconds from running the cell to all charts drawn.
    usable : float
        Seconds to all of it painted, with controls that have their names, keys and folds.
    page, kernel : float
        Milliseconds of CPU of the page's own thread, and of the kernel.
    messages : int
        Of widgets, to the page.
    """

    charts: float
    usable: float
    page: float
    kernel: float
    messages: int


def show(lab: Lab, browser: Browser, name: str) -> Shown:
    """Show a panel in a new kernel and page."""
    page = browser.new_context(viewport={"width": 1400, "height": 1100}).new_page()
    book = Notebook(lab, page, name, [SETUP, "run"])
    book.command("notebook:run-cell-and-select-next")
    book.wait_for("'run' in globals()", 120)
    page.wait_for_timeout(2000)  # a person reads, and the page loads ahead
    session: Any = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    before, spent = computed(session), book.ask("time.process_time()")
    page.evaluate(SHOW)
    page.wait_for_function("() => window.seen.usable")
    book.wait_for("__import__('nbopt.notebook.panel.panel').notebook.panel.panel.panel_of(run).bridge.is_answered")
    of_page, of_kernel = 1000 * (computed(session) - before), 1000 * (book.ask("time.process_time()") - spent)
    seen = page.evaluate("() => window.seen")
    book.close()
    return Shown(seen["charts"], seen["usable"], of_page, of_kernel, seen["told"])


def measure(times: int) -> Iterator[Shown]:
    """Show several panels, one after the other, each in a kernel of its own."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        lab = Lab(Path(folder))
        browser = playwright.chromium.launch(executable_path=browser_path(), args=FLAGS)
        try:
            for number in range(times):
                yield show(lab, browser, f"shown{number}")
        finally:
            browser.close()
            lab.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=3)
    for one in measure(parser.parse_args().times):
        cpu = f"{one.page:.0f} ms of the page, {one.kernel:.0f} ms of the kernel"
        seconds = f"charts in {one.charts:.2f} s, all usable in {one.usable:.2f} s"
        print(f"{seconds}; {cpu}, {one.messages} messages", flush=True)


if __name__ == "__main__":
    main()
