"""``make bench``: the table of steps per second, and the figures of a long run, as Markdown.

``python -m tests.benchmarks --only race --clock cpu``; ``--help`` tells of all options.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits

from tests.benchmarks.loops import Clock

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
PARTS = ("race", "many", "figures", "browser", "frames")
PACKAGES = ("torch", "lightning", "skorch", "keras", "scikit-learn", "jupyterlab", "ipykernel", "bqplot")


def machine(threads: int) -> str:
    """Say where and when, and with what."""
    info = Path("/proc/cpuinfo")
    names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    processor = names[0] if names else platform.processor()
    load = os.getloadavg()[0]
    return (
        f"{datetime.date.today()}, {processor}, {os.cpu_count()} cores, {platform.system()}, "
        f"Python {platform.python_version()}, {', '.join(map(_version, PACKAGES))}; torch threads: {threads}; "
        f"load of the machine at the start: {load:.1f}"
    )


def _version(name: str) -> str:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"{name} absent"


def races(seconds: float) -> Iterator[str]:
    """Yield a table for the CPU and, where there is one, for the GPU."""
    from tests.benchmarks.race import race, table
    from tests.benchmarks.workloads import ON_CPU, ON_GPU

    yield table([race(work, "cpu", seconds) for work in ON_CPU], "cpu")
    if torch.cuda.is_available():
        yield table([race(work, "cuda", seconds) for work in ON_GPU], torch.cuda.get_device_name())
    else:
        yield "No GPU at hand."


def figures() -> Iterator[tuple[str, str, str]]:
    """Yield lines of the second table: what, measured, at least (aim)."""
    from tests.benchmarks import latency, long_run, own_cost, scheduled

    yield "own cost of an eager step, small MLP, whole epochs", f"{own_cost.measure() * 1e6:.1f} µs", "25 µs (5)"
    still, moving, ratio = scheduled.measure()
    times = f"{ratio:.3f} times ({moving * 1e6:.1f} µs for {still * 1e6:.1f})"
    yield "compiled step along a cosine for one at a constant rate, small MLP", times, "1.05 times"
    for hidden in (128, 2048):
        waits, _rate = latency.measure(hidden, 256, pause=0.02)
        title = f"`run.set` to applied, 95 % of {len(waits)}, 64-{hidden}-10, batch 256"
        yield title, f"{latency.percentile(waits, 95):.1f} ms", "20 ms"
    loads = [long_run.in_kernel(long_run.LOAD) for _kernel in range(3)]
    yield "`%load_ext nbopt` in a fresh kernel", f"{statistics.median(loads) * 1000:.0f} ms", "100 ms (50)"
    found = long_run.in_kernel(long_run.FILL)
    wall, computing = found["refresh"] * 1000, found["computing"] * 1000
    refresh = f"{wall:.1f} ms ({computing:.1f} of computing), {found['sent'] / 1024:.1f} KiB"
    yield "one refresh of 4 curves after 10 million steps", refresh, "5 ms, 64 KiB (2 ms, 16 KiB)"
    yield "… of which each curve", f"{found['curve'] / 1024:.1f} KiB", "16 KiB"
    yield "memory for 10 million steps of 4 metrics", f"{found['memory'] / 2**20:.0f} MiB", "400 MiB (200)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--seconds", type=float, default=0.4, help="of each contender in each round")
    parser.add_argument("--minutes", type=float, default=0.5, help="for which the browser tab's memory is watched")
    parser.add_argument("--threads", type=int, default=1, help="of torch and of scikit-learn's BLAS")
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="cpu: seconds of computing, for a machine that does other work"
    )
    arguments = parser.parse_args()
    Clock.now = CLOCKS[arguments.clock]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder  # whatever is compiled is compiled anew
        measure(arguments)


def measure(arguments: argparse.Namespace) -> None:
    """Print what was asked for."""
    torch.set_num_threads(arguments.threads)
    print(f"Measured {machine(arguments.threads)}; clock of steps per second: {arguments.clock}.\n", flush=True)
    with threadpool_limits(arguments.threads):
        if "race" in arguments.only:
            for text in races(arguments.seconds):
                print(f"{text}\n", flush=True)
        if "many" in arguments.only:
            from tests.benchmarks import many, members

            for rows in (many.rows(), members.rows()):
                print("\n".join(rows) + "\n", flush=True)
        print("| figure | measured | at least (aim) |\n| --- | --- | --- |")
        if "figures" in arguments.only:
            for row in figures():
                print("| " + " | ".join(row) + " |", flush=True)
        if "browser" in arguments.only:
            from tests.benchmarks import panel

            for row in panel.figures(arguments.minutes, Clock.now.__name__):
                print("| " + " | ".join(row) + " |", flush=True)
        if "frames" in arguments.only:
            from tests.benchmarks import frames

            for row in frames.figures():
                print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
