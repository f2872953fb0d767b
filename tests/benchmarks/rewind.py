"""What it takes to go ten steps back in a large model, and what its snapshots cost meanwhile.

``python -m tests.benchmarks.rewind --seconds 60``. Synthetic samples, an MLP of 41 million weights under Adam.
"""

from __future__ import annotations

import argparse
import time
from itertools import pairwise

import torch
from torch import nn

import nbopt
from nbopt.training.snapshots import securing

WIDTHS = (1024, 4096, 4096, 4096, 784)
BATCH = 64
BACK = 10
TIMES = 4


def make_run(batch: int = BATCH) -> nbopt.Run:
    """Return a run of the large model, which nothing keeps beyond this process."""
    torch.manual_seed(0)
    layers = [part for a, b in pairwise(WIDTHS) for part in (nn.Linear(a, b), nn.ReLU())]
    data = torch.randn(4 * batch, WIDTHS[0]), torch.randint(0, WIDTHS[-1], (4 * batch,))
    return nbopt.Run(
        nn.Sequential(*layers[:-1]), data, epochs=10**6, batch_size=batch, lr=1e-4, tier="eager", store=None
    )


def measure(seconds: float, batch: int = BATCH) -> dict[str, float | str]:
    """Train for so long, go back again and again by `BACK` steps, and return what that took."""
    run, spent, computed = make_run(batch), [], []
    capture = securing.capture

    def timed(training: object) -> object:
        start, begun = time.perf_counter(), time.thread_time()
        try:
            return capture(training)
        finally:
            spent.append(time.perf_counter() - start)
            computed.append(time.thread_time() - begun)

    securing.capture = timed  # type: ignore[assignment]
    try:
        run.step()
        first, start, begun = len(spent), time.perf_counter(), time.process_time()
        run.start()
        time.sleep(seconds)
        run.pause()
        trained = time.perf_counter() - start
        share, count = sum(spent[first:]) / trained, len(spent) - first
        share_computed = sum(computed[first:]) / (time.process_time() - begun)
        steps, kept = run.step_count, [snapshot.step for snapshot in run.snapshots]
        waits = []
        for _time in range(TIMES):
            target = run.step_count - BACK
            again = target - run.snapshots.before(target).step
            start = time.perf_counter()
            run.rewind(target)
            waits.append(f"{time.perf_counter() - start:.1f} ({again} done again)")
            run.step(BACK + 3)  # so that the next one is not to the same step
    finally:
        securing.capture = capture
    return {
        "weights": f"{sum(weight.numel() for weight in run.model.parameters()):,}",
        "seconds a step": trained / steps,
        "a copy, seconds": sorted(spent[first:])[count // 2] if count else "",
        "copies": count,
        "share of the time": share,
        "... of computing time": share_computed,
        "kept": str(kept),
        "steps done": steps,
        "ten steps back, seconds": ", ".join(waits),
        "held, MB": run.snapshots.nbytes / 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="of training")
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for what, value in measure(arguments.seconds, arguments.batch).items():
        print(f"{what}: {value if isinstance(value, str) else f'{value:.4g}'}", flush=True)


if __name__ == "__main__":
    main()
