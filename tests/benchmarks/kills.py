"""Kill training processes at random moments, and count what is lost.

``python tests/benchmarks/kills.py [TRIES] [--kernels]``. Victims are forks of a process that has torch loaded or, far
slower, real Jupyter kernels with the run's panel open. After each kill the store is copied, and the copy's run goes on
to where an unbroken run is compared with it, bit for bit. The next victim takes up the killed run itself, four times in
a row.
"""

import argparse
import json
import os
import random
import shutil
import signal
import tempfile
import time
from pathlib import Path

import torch
from jupyter_client.manager import start_new_kernel

import nbopt
from nbopt.record.journal import Entry
from tests.engine import victim

CHAIN = 4
ROOT = Path(__file__).parents[2]
CELL = """
import os, sys
sys.path.insert(0, {root!r})
import torch
from IPython.display import display
from tests.engine.victim import be_victim
torch.set_num_threads(1)
be_victim({store!r}, {seed!r}, {run!r}, os.open({told!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND), display)
"""


class Kernels:
    """Makes victims of Jupyter kernels."""

    def __enter__(self) -> "Kernels":
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def kill_one(self, store: Path, seed: int, run: str = "", seconds: float = 1.0) -> victim.Outcome:
        """Start a kernel that trains, and kill it up to ``seconds`` after it began to."""
        told = Path(f"{store}-told-{seed}")
        manager, client = start_new_kernel()
        try:
            cell = {"root": str(ROOT), "store": str(store), "seed": str(seed), "run": run, "told": str(told)}
            client.execute(CELL.format(**cell))
            until = time.monotonic() + 120
            while not told.exists() or not told.read_text():
                assert time.monotonic() < until, "the kernel did not begin to train"
                time.sleep(0.01)
            time.sleep(random.Random(seed).uniform(0, seconds))
            run, process = told.read_text().splitlines()[0].split()
            os.kill(int(process), signal.SIGKILL)
            manager.provisioner.process.wait(20)
            entries = told.read_text().splitlines()[1:]
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)
        return victim.Outcome(run, [Entry(*json.loads(line)) for line in entries])


def main(tries: int, kernels: bool) -> None:
    torch.set_num_threads(1)
    told = lost = bitwise = opened = 0
    run = ""
    with tempfile.TemporaryDirectory() as folder, Kernels() if kernels else victim.Nursery() as nursery:
        for index in range(tries):
            store = Path(folder) / f"store{index // CHAIN}"
            outcome = nursery.kill_one(store, seed=index, run=run if index % CHAIN else "", seconds=1.5)
            run = outcome.run
            told += len(outcome.told)
            lost += victim.lost_entries(store, outcome)
            copy = Path(folder) / f"copy{index}"
            shutil.copytree(store, copy)
            opened += len(nbopt.runs(copy)) == 1
            bitwise += victim.ends_as_unbroken(copy, run)
            print(
                f"tried {index + 1}, opened {opened}, ended as unbroken {bitwise}; entries told {told}, lost {lost}",
                flush=True,
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("tries", type=int, nargs="?", default=100)
    parser.add_argument("--kernels", action="store_true")
    main(**vars(parser.parse_args()))
