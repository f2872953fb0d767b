"""How long a change waits: from `Run.set` to the journal's entry, while the run's own thread trains.

Run with ``python tests/benchmarks/latency.py``.
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

import nbopt

CHANGES = 200
FOREVER = 10**9


def measure(hidden: int, batch_size: int, pause: float) -> tuple[np.ndarray, float]:
    """Return each change's latency in milliseconds, and the steps done per second meanwhile."""
    x, y = load_digits(return_X_y=True)
    model = nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Dropout(0.2), nn.Linear(hidden, 10))
    run = nbopt.Run(model, (x / 16, y), val=0.2, epochs=FOREVER, batch_size=batch_size, store=None)
    run.start()
    steps, began = run.step_count, time.perf_counter()
    asked = []
    for number in range(CHANGES):
        asked.append(time.time())
        run.set(lr=1e-3 + number * 1e-6)
        time.sleep(pause)
    run.pause()
    rate = (run.step_count - steps) / (time.perf_counter() - began)
    applied = [entry.time for entry in run.journal.changes() if entry.name == "lr"]
    # The first value is the default and no change.
    return 1000 * (np.array(applied) - np.array(asked[-len(applied) :])), rate


def percentile(latency: np.ndarray, percent: float) -> float:
    """Return what so many percent of the changes did not exceed."""
    return float(np.percentile(latency, percent))


def main() -> None:
    """Print a table."""
    torch.set_num_threads(1)
    print(f"{'model':>10} {'batch':>6} {'steps/s':>8} {'median':>8} {'95 %':>8} {'worst':>8}  (ms from set to applied)")
    for hidden, batch_size in ((128, 64), (128, 1024), (2048, 256)):
        latency, rate = measure(hidden, batch_size, pause=0.02)
        middle, high, worst = np.percentile(latency, [50, 95, 100])
        model = f"64-{hidden}-10"
        print(f"{model:>10} {batch_size:>6} {rate:>8.0f} {middle:>8.2f} {high:>8.2f} {worst:>8.2f}")


if __name__ == "__main__":
    main()
