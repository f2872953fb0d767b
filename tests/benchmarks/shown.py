"""What it takes until a panel stands in the page, in a kernel that has not shown one yet.

``python -m tests.benchmarks.shown --times 3``. Other work on the machine changes the seconds, but hardly the CPU time
of page and kernel, and not the number of messages.
"""

from __future__ import annotations

import argparse
import tempfile
import time
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
COUNT = """() => {
    window.told = 0;
    window.context.session.kernel.iopubMessage.connect((_sender, message) => {
        if (message.header.msg_type.startsWith('comm_')) window.told += 1;
    });
}"""
SHOW = "() => { jupyterapp.commands.execute('notebook:run-cell'); }"


class Shown(NamedTuple):
    """How a panel came to be shown.

    Attributes
    ----------
    seconds : float
        From running the cell to all charts drawn.
    page, kernel : float
        Milliseconds of CPU of the page's own thread, and of the kernel.
    messages : int
        Of widgets, to the page.
    """

    seconds: float
    page: float
    kernel: float
    messages: int


def show(lab: Lab, browser: Browser, name: str) -> Shown:
    """Show a panel in a new kernel and page."""
    page = browser.new_context(viewport={"width": 1400, "height": 1100}).new_page()
    book = Notebook(lab, page, name, [SETUP, "run"])
    book.command("notebook:run-cell-and-select-next")
    book.wait_for("'run' in globals()", 120)
    page.evaluate(COUNT)
    session: Any = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    before, spent, begun = computed(session), book.ask("time.process_time()"), time.perf_counter()
    page.evaluate(SHOW)
    page.locator(".nbopt-panel .nbopt-figure .plotarea_background").nth(1).wait_for(state="attached")
    seconds = time.perf_counter() - begun
    book.wait_for("__import__('nbopt.notebook.panel.panel').notebook.panel.panel.panel_of(run).bridge.is_answered")
    of_page, of_kernel = 1000 * (computed(session) - before), 1000 * (book.ask("time.process_time()") - spent)
    told = page.evaluate("() => window.told")
    book.close()
    return Shown(seconds, of_page, of_kernel, told)


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
        print(f"shown in {one.seconds:.2f} s; {cpu}, {one.messages} messages", flush=True)


if __name__ == "__main__":
    main()
