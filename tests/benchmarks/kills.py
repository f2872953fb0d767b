"""Kill training processes at random moments, and count what is lost.

``python -m tests.benchmarks.kills [TRIES] [--kernels] [--kind KIND]``. Victims are forks of a process that has torch
loaded or, far slower, real Jupyter kernels with the run's panel open; their kinds take turns (`victim.KINDS`), or all
are of one kind, as ``population``. After each kill the store is copied, and the copy's run goes on to where an unbroken
run is compared with it, bit for bit. The next victim takes up the killed run itself, four times in a row. Kernels have
the real compiler; forks take what it is given for compiled, since a compiler takes longer than they live.
"""

import argparse
import json
import os
import random
import shutil
import signal
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import torch
from jupyter_client.manager import start_new_kernel

import nbopt
from nbopt.record.journal import Entry
from tests.run import victim
from tests.run.population.victim import TIERS, was_compiled

CHAIN = 4
ROOT = Path(__file__).parents[2]
CELL = """
import os, sys
sys.path.insert(0, {root!r})
import torch
from IPython.display import display
from tests.run.victim import be_victim
torch.set_num_threads(1)
be_victim({store!r}, {seed!r}, {run!r}, {kind!r}, os.open({told!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND), display)
"""


class Kernels:
    """Makes victims of Jupyter kernels."""

    def __enter__(self) -> "Kernels":
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def kill_one(
        self, store: Path, seed: int, run: str = "", seconds: float = 1.0, kind: str = "plain"
    ) -> victim.Outcome:
        """Start a kernel that trains, and kill it up to ``seconds`` after it began to."""
        told = Path(f"{store}-told-{seed}")
        manager, client = start_new_kernel()
        try:
            cell = {
                "root": str(ROOT),
                "store": str(store),
                "seed": str(seed),
                "run": run,
                "kind": kind,
                "told": str(told),
            }
            client.execute(CELL.format(**cell))
            until = time.monotonic() + 300
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


def main(tries: int, kernels: bool, seconds: float, only: str) -> None:
    torch.set_num_threads(1)
    if not kernels:
        victim.compile_at_once()
    told = lost = bitwise = opened = compiled = 0
    run = ""
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder, victim.Nursery() as others:
        nursery = stack.enter_context(Kernels() if kernels else victim.Nursery())
        for index in range(tries):
            store = Path(folder) / f"store{index // CHAIN}"
            kind = only or victim.KINDS[index // CHAIN % len(victim.KINDS)]
            beside = None
            if kind == "two processes" and not kernels:  # another one trains in the same store
                beside = others.start(store, index, kind="plain")
            outcome = nursery.kill_one(store, index, run if index % CHAIN else "", seconds, kind)
            if beside is not None:
                also = victim.Outcome(beside[0], others.kill(beside[1]))
                told += len(also.told)
                lost += victim.lost_entries(store, also)
            run = outcome.run
            told += len(outcome.told)
            lost += victim.lost_entries(store, outcome)
            copy = Path(folder) / f"copy{index}"
            shutil.copytree(store, copy)
            compiled += kind in TIERS and was_compiled(copy, run)
            opened += run in [line.id for line in nbopt.runs(copy)]
            bitwise += victim.ends_as_unbroken(copy, run, kind)
            print(
                f"tried {index + 1} ({kind}), opened {opened}, ended as unbroken {bitwise}; "
                f"{compiled} populations were compiled; entries told {told}, lost {lost}",
                flush=True,
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("tries", type=int, nargs="?", default=100)
    parser.add_argument("--kernels", action="store_true")
    kinds = [*victim.KINDS, *TIERS]
    parser.add_argument("--kind", dest="only", default="", choices=["", *kinds], help="kill these alone")
    parser.add_argument("--seconds", type=float, default=1.5, help="how long a victim lives at most")
    main(**vars(parser.parse_args()))
