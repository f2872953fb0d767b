"""Frames a second of a page whose panels show runs at work, in a real browser: one panel, and three at once.

``python -m tests.benchmarks --only frames``; ``python -m tests.benchmarks.frames --profile`` adds where the time of the
page's own thread goes.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from playwright.sync_api import sync_playwright

from tests.browser.lab import FLAGS, Lab, Notebook, browser_path

RATE = 400  # steps a second of each run

SETUP = f"""
%load_ext nbopt
import time
import nbopt, torch
from IPython.display import display
from nbopt.notebook.panel.panel import panel_of
from torch import nn
torch.set_num_threads(1)
X, y = torch.randn(6_400, 16), torch.randint(4, (6_400,))
def made(number):
    torch.manual_seed(number)
    due = [time.perf_counter()]
    def paced(model, batch):
        due[0] = max(due[0] + 1 / {RATE}, time.perf_counter() - 0.1)
        time.sleep(max(0.0, due[0] - time.perf_counter()))
        return model(batch[0]), batch[1]
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    return nbopt.Run(
        model, (X, y), val=0.1, forward=paced, metrics=["accuracy"], epochs=10**9, name=f"run {{number}}", store=None
    )
runs = [made(number) for number in range(3)]
spent = [0.0]
def timed(paint):
    def work():
        begun = time.thread_time()
        paint()
        spent[0] += time.thread_time() - begun
    return work
def show(run):
    bridge = panel_of(run).bridge
    bridge._paint = timed(bridge._paint)
    display(run)
    run.start()
def drawn():
    return sum(panel_of(run).bridge.companion.frame for run in shown)
"""
SHOW = "shown = runs[:{count}]\nfor run in shown:\n    show(run)"
ASK = "[sum(run.step_count for run in shown), time.perf_counter(), drawn(), spent[0]]"

COUNT = """seconds => new Promise(resolve => {
    const gaps = [];
    let last = performance.now();
    const end = last + 1000 * seconds;
    const tick = now => {
        gaps.push(now - last);
        last = now;
        now < end ? requestAnimationFrame(tick) : resolve(gaps);
    };
    requestAnimationFrame(tick);
})"""


def figures(seconds: float = 10.0) -> Iterator[tuple[str, str, str]]:
    """Yield lines for the table: what, measured, at least."""
    for count, goal in ((1, "50"), (3, "30")):
        seen = measure(count, seconds)
        title = f"frames a second, {count} panel{'s' * (count > 1)} at {RATE} steps/s each"
        yield title, seen.in_words(), goal


class Seen(NamedTuple):
    """What a page did while runs trained.

    Attributes
    ----------
    rate, gap : float
        Frames a second, and the milliseconds within which 95 % of them followed one another.
    busy : float
        The share of the time that the page's own thread computed: other work on the machine does not change it.
    steps : float
        Of each run, a second.
    pictures : float
        How often a panel was drawn anew, a second.
    page, kernel : float
        Milliseconds of the page's thread, and of the one that paints in the kernel, for each of these.
    told : str
        A profile.
    """

    rate: float
    gap: float
    busy: float
    steps: float
    pictures: float
    page: float
    kernel: float
    told: str

    def in_words(self) -> str:
        """Return it as a line."""
        of_page = f"page busy {self.busy:.0%}, {self.page:.1f} ms for each of {self.pictures:.1f} pictures a second"
        rest = f"kernel {self.kernel:.1f} ms for each; {self.steps:.0f} steps/s"
        return f"{self.rate:.0f} (gaps {self.gap:.0f} ms at 95 %; {of_page}, {rest})"


def measure(count: int, seconds: float, profile: bool = False) -> Seen:
    """Return what the page did while runs trained."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        lab = Lab(Path(folder))
        try:
            browser = playwright.chromium.launch(executable_path=browser_path(), args=FLAGS)
            page = browser.new_context(viewport={"width": 1400, "height": 1100}).new_page()
            book = Notebook(lab, page, f"frames{count}", [SETUP, SHOW.format(count=count)])
            book.run_all()
            page.locator(".nbopt-panel").nth(count - 1).wait_for()
            page.locator(".nbopt-panel").first.scroll_into_view_if_needed()
            page.wait_for_timeout(5000)
            before = book.ask(ASK)
            session: Any = page.context.new_cdp_session(page)
            session.send("Performance.enable", {"timeDomain": "threadTicks"})
            begun = computed(session)
            if profile:
                session.send("Profiler.enable")
                session.send("Profiler.start")
            gaps = page.evaluate(COUNT, seconds)
            spent = 1000 * (computed(session) - begun)
            told = profile_in_words(session.send("Profiler.stop")["profile"]) if profile else ""
            steps, clock, pictures, painting = (b - a for a, b in zip(before, book.ask(ASK), strict=True))
            book.close()
            rate, gap, pictures = 1000 * len(gaps) / sum(gaps), statistics.quantiles(gaps, n=20)[-1], max(pictures, 1)
            busy, of_page, of_kernel = spent / sum(gaps), spent / pictures, 1000 * painting / pictures
            return Seen(rate, gap, busy, steps / clock / count, pictures / clock, of_page, of_kernel, told)
        finally:
            lab.close()


def computed(session: Any) -> float:
    """Return the seconds that the page's thread has computed so far, once ``Performance`` is enabled."""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration")


def profile_in_words(profile: dict[str, Any], most: int = 45) -> str:
    """Return the functions that the page's thread was in, by their own time and with all that they called."""
    nodes = {node["id"]: node for node in profile["nodes"]}
    parent = {child: node["id"] for node in profile["nodes"] for child in node.get("children", ())}
    own: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for sample, spent in zip(profile["samples"], profile["timeDeltas"], strict=False):
        own[_name(nodes[sample])] += spent
        names, at = set(), sample
        while at is not None:
            names.add(_name(nodes[at]))
            at = parent.get(at)
        whole.update(dict.fromkeys(names, spent))
    total = sum(own.values())
    return "\n".join(
        f"{title}\n" + "\n".join(f"{100 * spent / total:5.1f} %  {name}" for name, spent in found.most_common(most))
        for title, found in (("own", own), ("whole", whole))
    )


def _name(node: dict[str, Any]) -> str:
    frame = node["callFrame"]
    return f"{frame['functionName'] or '(no name)'} {frame['url'].rsplit('/', 1)[-1][:40]}:{frame['lineNumber'] + 1}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--panels", nargs="+", type=int, default=[1, 3])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    for count in arguments.panels:
        seen = measure(count, arguments.seconds, arguments.profile)
        print(f"{count} panels: {seen.in_words()}\n{seen.told}", flush=True)


if __name__ == "__main__":
    main()
