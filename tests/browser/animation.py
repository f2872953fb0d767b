"""The animation in the README: a learning rate moved by its slider while the model trains, filmed in a real JupyterLab.

    python -m tests.browser.animation examples/images/tuning.webp

The ending of the name decides on the format: webp, gif or png.
"""

from __future__ import annotations

import io
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from tests.browser.lab import FLAGS, Lab, Notebook, browser_path

CELL = """%load_ext nbopt
import nbopt, torch
from sklearn.datasets import load_digits
from torch import nn

X, y = load_digits(return_X_y=True)
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10))
run = nbopt.Run(
    model, train=(X / 16, y), val=0.2, metrics=["accuracy"], optimizer="sgd", lr=0.003, epochs=400, name="digits"
)
run.speed = 100
run"""

WIDTH, HEIGHT = 1180, 700  # of the window; the film shows the panel alone
SHOWN = 900  # pixels across the film
SECONDS = 0.12  # between two frames

# Browsers draw no pointer into pictures of a page.
POINTER = """() => {
    const pointer = document.createElement('div');
    pointer.innerHTML = '<svg width="22" height="22" viewBox="0 0 22 22"><path d="M3 2v15l4-4 3 7 3-1-3-7h6z" '
        + 'fill="#000" stroke="#fff" stroke-width="1.5"/></svg>';
    pointer.style.cssText = 'position:fixed;z-index:99999;pointer-events:none;left:600px;top:400px';
    document.body.append(pointer);
    document.addEventListener('mousemove', event => {
        pointer.style.left = `${event.clientX - 3}px`;
        pointer.style.top = `${event.clientY - 2}px`;
    }, true);
}"""


def play(page: Page) -> Iterator[None]:
    """Do what a person would, a frame at a time."""
    where = (600.0, 420.0)

    def go(x: float, y: float, frames: int) -> Iterator[None]:
        nonlocal where
        start = where
        for k in range(1, frames + 1):
            part = k / frames
            where = (start[0] + (x - start[0]) * part, start[1] + (y - start[1]) * part)
            page.mouse.move(*where)
            yield

    def middle(selector: str) -> tuple[float, float]:
        box = page.locator(selector).first.bounding_box()
        assert box is not None
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    yield from go(*middle(".nbopt-start"), 6)
    page.mouse.down()
    page.mouse.up()
    yield from go(*middle(".nbopt-hp-lr .noUi-handle"), 20)
    page.mouse.down()
    yield from go(where[0] + 22, where[1], 14)
    page.mouse.up()
    yield from go(where[0] + 8, where[1] + 150, 30)


def film(page: Page, path: Path) -> None:
    """Save the animation."""
    panel = page.locator(".nbopt-panel").bounding_box()
    assert panel is not None
    clip = {"x": panel["x"], "y": panel["y"], "width": panel["width"], "height": HEIGHT - panel["y"]}
    frames, times = [], []
    for _step in play(page):
        begun = time.monotonic()
        picture = Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB")
        frames.append(picture.resize((SHOWN, round(SHOWN * picture.height / picture.width)), Image.Resampling.LANCZOS))
        times.append(time.monotonic())
        time.sleep(max(0.0, SECONDS - (time.monotonic() - begun)))
    lengths = [round(1000 * min(after - before, 2 * SECONDS)) for before, after in itertools.pairwise(times)]
    lengths.append(2500)  # the last one is looked at
    if path.suffix == ".gif":
        frames = [frame.quantize(64, dither=Image.Dither.NONE) for frame in frames]
    how = {"quality": 60, "method": 4} if path.suffix == ".webp" else {"optimize": True}
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=lengths, loop=0, **how)
    print(f"{path}: {len(frames)} frames, {sum(lengths) / 1000:.1f} s, {path.stat().st_size / 1000:,.0f} kB")


def main(path: Path) -> None:
    """Open JupyterLab on a notebook, and film its panel."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        lab = Lab(Path(folder))
        browser = playwright.chromium.launch(executable_path=browser_path(), args=FLAGS)
        try:
            notices = lab.settings / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
            notices.parent.mkdir(parents=True, exist_ok=True)
            notices.write_text(json.dumps({"fetchNews": "false", "checkForUpdates": False}))
            page = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}).new_page()
            book = Notebook(lab, page, "film", [CELL])
            book.run_all()
            page.locator(".nbopt-figure .plotarea_background").first.wait_for(timeout=60_000)
            book.command("statusbar:toggle")
            page.locator("#jp-main-statusbar").wait_for(state="hidden")
            page.locator(".nbopt-panel").evaluate("panel => panel.scrollIntoView()")
            time.sleep(2)  # until the page has come to rest
            page.evaluate(POINTER)
            film(page, path)
            book.ask("run.stop()")
            book.close()
        finally:
            browser.close()
            lab.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
