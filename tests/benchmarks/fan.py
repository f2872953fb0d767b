"""What a picture of a population costs the page that shows it, while its curves grow.

``python -m tests.benchmarks.fan --members 1000``; ``--profile`` adds where the time goes. The curves are written to the
members' histories, as a training that is fast enough would, so that the page is what is measured: how many pictures a
second it takes, and the CPU time that it computes for each, which other work on the machine hardly changes.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from playwright.sync_api import sync_playwright

from tests.benchmarks.frames import computed, profile_in_words
from tests.browser.lab import FLAGS, Lab, Notebook, browser_path

SETUP = """
%load_ext nbopt
import math, threading, time
import nbopt, torch
from nbopt.notebook.population.panel import panel_of
from torch import nn
torch.manual_seed(0)
X, y = torch.randn(64, 4), torch.randint(4, (64,))
population = nbopt.Population(
    nn.Linear(4, 4), (X, y), val=0.2, epochs=10**6, lr=nbopt.spread(1e-4, 1, MEMBERS), name="rates", store=None
)
"""
GROW = """
panel = panel_of(population)
panel._hear({"metric": "loss"})
bridge, at = panel.bridge, [0]

def grow(steps):
    steps = range(at[0], at[0] + steps)
    for number, member in enumerate(population):
        rate = 2 + 3 * number / len(population)
        losses = [math.exp(-step / 3e3 * rate) + 0.05 * math.sin(step * rate) for step in steps]
        member.history.extend("loss", steps, losses)
    at[0] = steps[-1] + 1

def pictures(count):
    for _picture in range(count):
        grow(STEPS)
        frame = bridge.companion.frame
        bridge.wake()
        while not (bridge.companion.frame > frame and bridge.is_seen):
            time.sleep(0.002)

def work(count):
    done.clear()
    threading.Thread(target=lambda: (pictures(count), done.append(True)), daemon=True).start()

done = []
grow(2000)
bridge.wake()
"""


class Seen(NamedTuple):
    """What a page did while curves grew.

    Attributes
    ----------
    pictures : float
        A second.
    page : float
        Milliseconds that the page's own thread computed for each.
    browser : float
        Milliseconds of all its threads and processes, those that put pictures on the screen too.
    told : str
        A profile.
    """

    pictures: float
    page: float
    browser: float
    told: str


def measure(members: int, count: int, steps: int, profile: bool = False) -> Seen:
    """Return what ``count`` pictures took, each with ``steps`` steps more of every member."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        lab = Lab(Path(folder))
        try:
            browser = playwright.chromium.launch(executable_path=browser_path(), args=FLAGS)
            page = browser.new_context(viewport={"width": 1400, "height": 1100}).new_page()
            cells = [SETUP.replace("MEMBERS", str(members)), "population", GROW.replace("STEPS", str(steps))]
            book = Notebook(lab, page, "fan", cells)
            book.run_all()
            page.locator(".nbopt-fan-charts").scroll_into_view_if_needed()
            book.wait_for("bridge.is_seen", 60)
            book.ask("work(5)")
            book.wait_for("len(done)", 120)
            session: Any = page.context.new_cdp_session(page)
            session.send("Performance.enable", {"timeDomain": "threadTicks"})
            if profile:
                session.send("Profiler.enable")
                session.send("Profiler.start")
            begun, whole = computed(session), _spent_below(os.getpid())
            clock = book.ask("time.perf_counter()")
            book.ask(f"work({count})")
            while not book.ask("len(done)"):
                page.wait_for_timeout(500)
            whole, spent = _spent_below(os.getpid()) - whole, 1000 * (computed(session) - begun)
            clock = book.ask("time.perf_counter()") - clock
            told = profile_in_words(session.send("Profiler.stop")["profile"]) if profile else ""
            book.close()
            return Seen(count / clock, spent / count, 1000 * whole / count, told)
        finally:
            lab.close()


def _spent_below(process: int) -> float:
    """Return the CPU seconds of all browsers that a process has started, and of what they have started."""
    parents, spent = {}, {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended meanwhile
            name, rest = status.read_text().split(" (", 1)[1].rsplit(") ", 1)
            fields = rest.split()
            parents[int(status.parent.name)] = int(fields[1])
            spent[int(status.parent.name)] = (int(fields[11]) + int(fields[12])) * ("chrom" in name)
    below = {process}
    while more := {child for child, parent in parents.items() if parent in below} - below:
        below |= more
    return sum(spent.get(child, 0) for child in below) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=1000)
    parser.add_argument("--pictures", type=int, default=60)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    seen = measure(given.members, given.pictures, given.steps, given.profile)
    cost = f"{seen.page:.1f} ms of the page, {seen.browser:.0f} ms of the whole browser"
    print(f"{given.members} members: {cost}, for each of {seen.pictures:.1f} pictures/s\n{seen.told}")


if __name__ == "__main__":
    main()
