"""Steps per second with the panel open in a real browser, against a hand-written PyTorch loop.

One process, the same device-resident tensors and the same model, alternating, median of five:
``python tests/benchmarks/panel.py``.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.browser.lab import FLAGS, Lab, Notebook, browser_path

SETUP = """
%load_ext nbopt
import copy, platform, statistics, threading, time
import nbopt, torch
from sklearn.datasets import load_digits
from torch import nn
X, y = load_digits(return_X_y=True)
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10))
rival = copy.deepcopy(model)
run = nbopt.Run(model, train=(X / 16, y), val=0.2, metrics=["accuracy"], epochs=10**9)
run
"""

MEASURE = """
SECONDS, ROUNDS = 3.0, 5
Xt, yt = torch.as_tensor(X[:1437] / 16, dtype=torch.float32), torch.as_tensor(y[:1437])
optimizer = torch.optim.Adam(rival.parameters(), lr=1e-3)
criterion = nn.CrossEntropyLoss()

def by_hand():
    steps, start = 0, time.perf_counter()
    while time.perf_counter() < start + SECONDS:
        order = torch.randperm(len(Xt))
        for at in range(0, len(Xt), 64):
            index = order[at : at + 64]
            optimizer.zero_grad()
            criterion(rival(Xt[index]), yt[index]).backward()
            optimizer.step()
            steps += 1
    return steps / (time.perf_counter() - start)

def by_nbopt():
    run.resume()
    before, start = run.step_count, time.perf_counter()
    time.sleep(SECONDS)
    steps, spent = run.step_count - before, time.perf_counter() - start
    run.pause()
    return steps / spent

def compare():
    by_hand(), by_nbopt()
    for _round in range(ROUNDS):
        rows.append((by_hand(), by_nbopt()))
    done.append(True)

rows, done = [], []
threading.Thread(target=compare, daemon=True).start()
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        lab = Lab(Path(folder))
        try:
            browser = playwright.chromium.launch(executable_path=browser_path(), args=FLAGS)
            page = browser.new_context(viewport={"width": 1400, "height": 1100}).new_page()
            book = Notebook(lab, page, "benchmark", [SETUP, MEASURE])
            book.run_all()
            while not book.ask("len(done)"):
                page.wait_for_timeout(1000)
            rows = book.ask("rows")
            print("by hand  nbopt  ratio   (steps per second)")
            for hand, ours in rows:
                print(f"{hand:7.0f} {ours:6.0f} {ours / hand:6.2f}")
            ratios = sorted(ours / hand for hand, ours in rows)
            print(f"median ratio {ratios[len(ratios) // 2]:.2f}, spread {ratios[0]:.2f} to {ratios[-1]:.2f}")
            book.close()
        finally:
            lab.close()


if __name__ == "__main__":
    main()
