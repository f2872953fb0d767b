"""From a slider moved at rest to the accuracy that is shown: ``python -m tests.benchmarks.sizes``."""

import statistics
import time

import torch
from sklearn.datasets import load_digits
from torch import nn

import nbopt
from nbopt.notebook.panel.size.drawer import SizeDrawer
from tests.waiting import eventually


def measure(moves=30):
    """Return for each move of a slider the seconds until the drawer's page has the new state, and those of CPU."""
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
    torch.manual_seed(0)
    convolutions = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU()]
    model = nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(32 * 64, 10))
    run = nbopt.Run(model, (x, torch.tensor(y)), val=0.2, metrics=["accuracy"], epochs=10, store=None)
    run.step(200)
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


if __name__ == "__main__":
    torch.set_num_threads(1)
    moves = measure()
    for name, values in zip(("seconds", "seconds of CPU"), zip(*moves, strict=True), strict=True):
        print(f"{name}: median {statistics.median(values):.3f}, longest {max(values):.3f}")
